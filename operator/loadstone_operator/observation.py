"""Hold what the operator sees of one LoadTest at one moment: resource, pods, master, time. Values only.

Nothing is read from the API here and nothing is concluded; durations are seconds on a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.spec import defaults
from loadstone_core.spec.model import MasterOnLoss, OnLoss
from loadstone_core.units import parse_duration
from loadstone_core.verdict.outcome import Reason
from loadstone_operator.naming import ROLE_MASTER, ROLE_WORKER
from loadstone_operator.permission import NO_CLASS, Capacity, ClassView, SourceView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.errors import Problem
    from loadstone_core.load.change import Aim
    from loadstone_operator.wishes import Steer, WorkerEnd


# Of a pod of which no container will run again.
TERMINAL_PHASES: Final = ("Succeeded", "Failed")
# Also of pods that an earlier release has made, and that do not say it.
DEFAULT_LEASE_NS: Final = parse_duration(defaults.LEASE)


class Cause(StrEnum):
    """Why a run was started."""

    CREATED = "Created"
    TRIGGER = "Trigger"
    UNSUSPEND = "Unsuspend"


class ReportState(StrEnum):
    """What became of a finished run's report; the value is the reason of the condition ResultsSaved."""

    NONE = "NoReport"
    SAVED = "Saved"
    WITHOUT_LOG = "SavedWithoutLog"
    FAILED = "SaveFailed"
    TAKEN = "NameConflict"


class Stage(StrEnum):
    """Where the master says that the run is."""

    GATHERING = "Gathering"
    ARMED = "Armed"
    RUNNING = "Running"
    STOPPING = "Stopping"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class LoadTestView:
    """The resource itself: identity and the wishes that can be read even from a spec that is wrong elsewhere."""

    namespace: str
    name: str
    uid: str
    generation: int
    deleting: bool = False
    last_run: str = ""
    trigger: str | None = None
    suspend: bool = False
    stop_run: int | None = None
    class_name: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A valid spec, as far as the operator's decisions need it.

    Attributes:
        users: the peak of users, 0 for open models.
        paused: nothing is to be asked of the target.
        aims: what the scenarios with constant loads are to reach.
        config: the script's values.
        parts: digests of what counts from the next run on when it is edited, by its path.
        master_on_loss: whether another master takes over from one that is lost.
        on_loss: what happens when a worker is lost.
        min_available: with so many workers the load begins once the start has timed out.
        can_resize: workers may be added and taken away while a run of it goes on.
    """

    workers: int
    users: int
    graceful_stop_ns: int
    startup_timeout_ns: int
    digest: str
    paused: bool = False
    aims: tuple[Aim, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    master_on_loss: MasterOnLoss = MasterOnLoss.RESTART
    on_loss: OnLoss = OnLoss.REPLACE
    min_available: int | None = None
    can_resize: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """A spec that cannot be run, and everything that is wrong with it."""

    problems: tuple[Problem, ...]


SpecView: TypeAlias = Accepted | Rejected


@dataclass(frozen=True, slots=True)
class Held:
    """What the status says. `run` is 0 unless a run has been given its number and was not refused.

    Attributes:
        workers: how many there are to be.
        attempts: how often the pods of workers were made, of those that were made more than once.
        planned: how many the run was planned with.
        generation: of the spec that the run was planned with; 0: unknown.
        made: how many there were at most; those beyond `workers` had to go.
        graceful_stop_ns, startup_timeout_ns: what the run was planned with; None: unknown.
        can_resize: workers may be added and taken away while the run goes on.
    """

    observed_generation: int = -1
    phase: Phase | None = None
    finished: bool = False
    verdict: str = ""
    reason: str = ""
    run: int = 0
    last_run: int = 0
    epoch: int = 1
    cause: Cause = Cause.CREATED
    workers: int = 0
    attempts: Mapping[int, int] = field(default_factory=dict)
    planned: int = 0
    made: int = 0
    graceful_stop_ns: int | None = None
    startup_timeout_ns: int | None = None
    can_resize: bool = False
    generation: int = 0
    trigger: str | None = None
    digest: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    report: ReportState = ReportState.NONE

    @property
    def has_ordered_load(self) -> bool:
        """Say whether the newest run's load was ordered to begin, as far as the status knows."""
        return self.phase is not None and self.phase.order >= Phase.ARMED.order


@dataclass(frozen=True, slots=True)
class PodProblem:
    """What keeps a pod from doing its work, with what to do about it.

    Attributes:
        patience_seconds: how long it may last before it ends the run; None: until the startup timeout.
    """

    reason: Reason
    message: str
    patience_seconds: float | None


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How the container with user code (engine or director) ended."""

    reason: str
    message: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of the LoadTest.

    Attributes:
        worker: index of the worker; 0 for a master.
        attempt: how often the worker's pod has been made.
        epoch: of a master; 0 for a worker.
        is_sole: of a master: when it was made, every one of its run before it was known to have ended.
        authority: who has signed its certificate; empty when it has none.
        lease_ns: for how long its worker makes load without a word of the master.
        gone_by_ns: when a pod that is being deleted should be gone, wall clock; 0 for others.
        trusted_restarts: how often the master or agent beside the user code was restarted.
        last_words: the end of the termination message of the master or agent.
        last_outcome: the verdict in a master's last words, if it had come to one.
        end: how the container with user code ended, if it did.
        problem: what keeps the pod from starting, and since when.
    """

    name: str
    uid: str
    role: str
    run: int
    worker: int = 0
    attempt: int = 1
    epoch: int = 0
    is_sole: bool = False
    authority: str = ""
    lease_ns: int = DEFAULT_LEASE_NS
    phase: str = "Pending"
    ip: str = ""
    node: str = ""
    deleting: bool = False
    gone_by_ns: int = 0
    trusted_restarts: int = 0
    last_words: str = ""
    last_outcome: Outcome | None = None
    end: ContainerEnd | None = None
    problem: PodProblem | None = None
    problem_seconds: float = 0.0

    @property
    def is_terminal(self) -> bool:
        """Say whether no container of the pod will run again."""
        return self.phase in TERMINAL_PHASES


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as the master knows it."""

    worker: int
    attempt: int
    state: str
    pod: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, by the master or, when there is none to ask, by the operator; mappings are as in the status."""

    verdict: str
    reason: str
    message: str
    exit_code: int
    results: Mapping[str, Any] | None = None
    load: Mapping[str, Any] | None = None
    thresholds: tuple[Mapping[str, Any], ...] | None = None
    summary: Mapping[str, Any] | None = None
    logs: Mapping[str, Any] | None = None
    has_report: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Wall clock, nanoseconds since the Unix epoch; 0 = not yet. `start_skew_ns` is a duration."""

    workers_ready_ns: int = 0
    load_started_ns: int = 0
    load_stopped_ns: int = 0
    finished_ns: int = 0
    start_skew_ns: int = 0


@dataclass(frozen=True, slots=True)
class MasterView:
    """The newest report of a run's master."""

    connected: bool
    stage: Stage | None = None
    workers: tuple[WorkerView, ...] = ()
    progress: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None
    thresholds: tuple[Mapping[str, Any], ...] | None = None
    findings: tuple[str, ...] = ()
    times: Times = field(default_factory=Times)
    waiting_for: str = ""
    paused: bool = False
    config_revision: int = 0
    outcome: Outcome | None = None
    stored: bool = False


@dataclass(frozen=True, slots=True)
class CreationProblem:
    """Why the run's objects could not be made. A fatal one will not go away by trying again.

    Attributes:
        shown: a more exact word than the reason, for as long as the run may still begin.
    """

    reason: Reason
    message: str
    is_fatal: bool
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one decision is made from.

    Attributes:
        governing: the class that the LoadTest belongs to.
        ended: every worker of the run whose engine is known to have ended, remembered after its pod has gone.
        masters_ended: epoch up to which every master of the run is known to have ended; 0: none is.
        steered: what the master has acknowledged since it was connected to; None: nothing, or nobody knows.
        creation: why the last attempt to make the run's objects failed, `creation_seconds` ago.
        seconds_in_run: since the run was given its number or left the queue, as far as this process has seen it.
        seconds_watched: since this process first looked at the run; an operator that comes back must listen first.
        seconds_stopping: since the run was first seen to be one that is to stop; 0 if it is not.
        seconds_killed: since the run was first seen to be one that is killed; 0 if it is not.
        seconds_heard: since the run's master is heard; 0 while it is not.
        seconds_unheard: since the run's master was heard last, or looked for first; 0 while it is heard.
        seconds_alone: since no pod of a worker of the run runs any more; 0 while one does.
        epoch_reserved: that this process has put into the status for a master that it has not made yet; 0: none.
        seconds_finished: since the end was first seen.
        seconds_stored: since the master was told that everything is stored; 0 if it was not.
    """

    test: LoadTestView
    spec: SpecView
    governing: ClassView = NO_CLASS
    held: Held = field(default_factory=Held)
    pods: tuple[PodView, ...] = ()
    master: MasterView | None = None
    capacity: Capacity = field(default_factory=Capacity)
    source: SourceView = field(default_factory=SourceView)
    creation: CreationProblem | None = None
    creation_seconds: float = 0.0
    report: ReportState = ReportState.NONE
    ended: tuple[WorkerEnd, ...] = ()
    masters_ended: int = 0
    steered: Steer | None = None
    seconds_in_run: float = 0.0
    seconds_watched: float = 0.0
    seconds_stopping: float = 0.0
    seconds_killed: float = 0.0
    seconds_heard: float = 0.0
    seconds_unheard: float = 0.0
    seconds_alone: float = 0.0
    epoch_reserved: int = 0
    seconds_finished: float = 0.0
    seconds_stored: float = 0.0

    @property
    def run(self) -> int:
        """Return the newest run that has a number or a pod; 0 if there is none."""
        return max([self.held.run, *(pod.run for pod in self.pods)])

    @property
    def is_active(self) -> bool:
        """Say whether the newest run has begun, or waits to, and has not ended."""
        if self.held.run and self.held.run >= self.run:
            return not self.held.finished
        # A pod of a run that the status does not know: the operator was lost between making it and saying so.
        return self.run > self.held.last_run

    @property
    def is_edited(self) -> bool:
        """Say whether anything of the spec was ever another since the run was planned, however it reads by now."""
        is_other = isinstance(self.spec, Accepted) and self.spec.digest != self.held.digest
        return is_other or self.test.generation != self.held.generation

    @property
    def wanted_stop(self) -> str:
        """Return why the newest run should stop, in the verdict's words; empty if it should go on."""
        # Whoever has seen the switch once is killed, also when it is off again before that is done.
        has_seen = self.held.reason == Reason.KILLED and self.held.run == self.run and not self.held.finished
        if self.governing.is_killed or has_seen:
            return Reason.KILLED
        if self.test.stop_run is not None and self.test.stop_run == self.run:
            return Reason.STOPPED
        return Reason.SUSPENDED if self.test.suspend else ""

    def master_pod(self) -> PodView | None:
        """Return the newest master of the newest run."""
        masters = [pod for pod in self.pods if pod.role == ROLE_MASTER and pod.run == self.run]
        return max(masters, key=lambda pod: pod.epoch, default=None)

    def worker_pods(self) -> tuple[PodView, ...]:
        """Return the newest attempt of each worker of the newest run, by index."""
        newest: dict[int, PodView] = {}
        for pod in self.pods:
            if pod.role != ROLE_WORKER or pod.run != self.run:
                continue
            known = newest.get(pod.worker)
            if known is None or known.attempt < pod.attempt:
                newest[pod.worker] = pod
        return tuple(newest[index] for index in sorted(newest))

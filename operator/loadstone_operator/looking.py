"""Put together what is known of one LoadTest: resource, pods, master, limits, and for how long things have been so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.admission import admit
from loadstone_core.errors import SpecInvalidError
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.load.change import aims_of, can_resize
from loadstone_core.load.profile import Model
from loadstone_core.load.scenario import scenarios_of
from loadstone_core.spec.digest import part_digests, spec_digest
from loadstone_core.spec.model import ConfigMapSource
from loadstone_operator import naming
from loadstone_operator.capacity import Claim
from loadstone_operator.decision import wanted_cause
from loadstone_operator.ending import is_killed
from loadstone_operator.memory import Memory
from loadstone_operator.observation import (
    Accepted,
    LoadTestView,
    Observation,
    PodView,
    Rejected,
    ReportState,
    SpecView,
    Stage,
)
from loadstone_operator.permission import Capacity, SourceState, SourceView
from loadstone_operator.ports import MasterRef
from loadstone_operator.replacing import missing_pods
from loadstone_operator.resizing import added_pods, asked_workers
from loadstone_operator.status.held import read_held
from loadstone_operator.versions import uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.clock import Clock
    from loadstone_core.spec.model import LoadTest
    from loadstone_operator.capacity import Ledger
    from loadstone_operator.classes import Classes
    from loadstone_operator.cluster.store import Store
    from loadstone_operator.ports import Body, Key, Masters

SOURCE_RETRY_SECONDS: Final = 1.0
REPORT_RETRY_SECONDS: Final = 10.0

_SECOND: Final = 1_000_000_000
_UNSAVED: Final = frozenset({ReportState.FAILED, ReportState.TAKEN})


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a LoadTest, and what is needed to act on it.

    Attributes:
        created_ns: wall clock of the beginning of the run.
        has_freed: whether others may have been waiting for what was given back.
    """

    body: Body
    loadtest: LoadTest | None
    seen: Observation
    memory: Memory
    created_ns: int
    has_freed: bool


class Looker:
    """Looks at LoadTests; keeps what was parsed of a spec until the spec changes."""

    def __init__(self, store: Store, classes: Classes, masters: Masters, ledger: Ledger, clock: Clock) -> None:
        self._store = store
        self._classes = classes
        self._masters = masters
        self._ledger = ledger
        self._clock = clock
        self._memories: dict[str, Memory] = {}
        self._specs: dict[str, tuple[int, LoadTest | None, SpecView]] = {}

    def look(self, key: Key, body: Body) -> Look:
        """Return what is to be seen now; connections to masters and places in the line are brought up to date."""
        test = read_test(body)
        loadtest, spec = self._spec(test, body)
        held = read_held(body.get("status") or {})
        pods = self._store.pods(test.uid)
        rough = Observation(test=test, spec=spec, governing=self._classes.of(test.class_name), held=held, pods=pods)
        created_ns = self._created_ns(body, rough)
        memory = self._memory(rough)
        self._connect(key, rough, memory)
        now = self._clock.monotonic_ns()
        self._note(rough, memory, now)
        rough = replace(rough, master=self._masters.view(test.uid, rough.run))
        capacity, has_freed = self._capacity(rough, body)
        seen = replace(
            rough,
            pods=tuple(_with_age(pod, memory, now) for pod in pods),
            capacity=capacity,
            governing=replace(rough.governing, seconds_missing=_since(memory.class_missing_ns, now)),
            source=_source(loadtest, memory, now),
            creation=memory.creation,
            creation_seconds=(now - memory.creation_ns) / _SECOND,
            report=memory.report,
            ended=self._store.ended(test.uid, rough.run),
            masters_ended=self._store.masters_ended(test.uid, rough.run),
            steered=self._masters.steered(test.uid),
            seconds_in_run=(now - memory.began_ns) / _SECOND,
            seconds_watched=(now - memory.watched_ns) / _SECOND,
            seconds_stopping=_since(memory.stopping_ns, now),
            seconds_killed=_since(memory.killed_ns, now),
            seconds_heard=_since(memory.heard_ns, now),
            seconds_unheard=_since(memory.unheard_ns, now),
            seconds_alone=_since(memory.alone_ns, now),
            epoch_reserved=memory.epoch_reserved,
            seconds_finished=_since(memory.finished_ns, now),
            seconds_stored=_since(memory.stored_ns, now),
        )
        if seen.creation is not None and _has_all_pods(seen):
            # What the cluster refused once was made since, or is not wanted any more.
            memory.creation, seen = None, replace(seen, creation=None)
        return Look(body, loadtest, seen, memory, created_ns, has_freed)

    def forget(self, uid: str) -> bool:
        """Drop everything about a LoadTest that is gone; return whether others may have been waiting for that."""
        self._memories.pop(uid, None)
        self._specs.pop(uid, None)
        self._masters.forget(uid)
        has_freed = self._ledger.release(uid)
        return self._ledger.withdraw(uid) or has_freed

    def begin_anew(self) -> None:
        """Remember nothing of any run: how long things have been so is not known where somebody else had to look."""
        self._memories.clear()

    def known(self) -> tuple[str, ...]:
        """Return the UIDs of all LoadTests that were looked at and not forgotten."""
        return tuple(self._specs)

    def _spec(self, test: LoadTestView, body: Body) -> tuple[LoadTest | None, SpecView]:
        held = self._specs.get(test.uid)
        if held is not None and held[0] == test.generation:
            return held[1], held[2]
        try:
            loadtest = admit({key: value for key, value in body.items() if key != "status"})
        except SpecInvalidError as error:
            self._specs[test.uid] = (test.generation, None, Rejected(error.problems))
            return None, Rejected(error.problems)
        view = _accepted(loadtest)
        self._specs[test.uid] = (test.generation, loadtest, view)
        return loadtest, view

    def _created_ns(self, body: Body, seen: Observation) -> int:
        told = ((body.get("status") or {}).get("run") or {}).get("createdAt")
        if seen.held.run and seen.held.run == seen.run and told:
            return _wall_ns(str(told))
        return self._clock.wall_ns()

    def _memory(self, seen: Observation) -> Memory:
        held = self._memories.get(seen.test.uid)
        if held is not None and held.run == seen.run:
            return held
        now = self._clock.monotonic_ns()
        memory = Memory(run=seen.run, began_ns=now, watched_ns=now)
        self._memories[seen.test.uid] = memory
        return memory

    def _connect(self, key: Key, seen: Observation, memory: Memory) -> None:
        pod = seen.master_pod()
        is_wanted = seen.is_active or (pod is not None and pod.run == seen.held.run and memory.stored_ns is None)
        if pod is not None and pod.ip and not pod.is_terminal and is_wanted:
            host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
            address = f"{host}:{naming.PORT_GRPC}"
            self._masters.follow(key, MasterRef(seen.test.uid, pod.run, pod.epoch, address, pod.authority))
        elif not seen.is_active:
            self._masters.forget(seen.test.uid)

    def _note(self, seen: Observation, memory: Memory, now: int) -> None:
        """Note since when things have been so that are so now."""
        if seen.held.phase is Phase.QUEUED:
            memory.began_ns = now
        present = {(pod.name, str(pod.problem.reason)) for pod in seen.pods if pod.problem}
        memory.problems = {each: memory.problems.get(each, now) for each in present}
        memory.class_missing_ns = (memory.class_missing_ns or now) if seen.governing.missing else None
        is_stopping = seen.is_active and bool(seen.wanted_stop)
        memory.stopping_ns = (memory.stopping_ns or now) if is_stopping else None
        memory.killed_ns = (memory.killed_ns or now) if is_stopping and is_killed(seen) else None
        if seen.held.finished:
            memory.finished_ns = memory.finished_ns or now
        if memory.files is not None and seen.held.run and not seen.is_active:
            # Nothing is made of a run any more that has ended; if anything were, the script would be read again.
            memory.files, memory.source = None, SourceState.UNKNOWN
        view = self._masters.view(seen.test.uid, seen.run)
        is_heard = view is not None and view.connected
        memory.unheard_ns = None if is_heard else memory.unheard_ns or now
        memory.heard_ns = memory.heard_ns or now if is_heard else None
        has_workers = any(pod.phase == "Running" for pod in seen.worker_pods())
        memory.alone_ns = None if has_workers else memory.alone_ns or now
        if view is not None and view.stored:
            memory.stored_ns = memory.stored_ns or now
        is_retried = now - memory.report_ns >= REPORT_RETRY_SECONDS * _SECOND
        if memory.report in _UNSAVED and seen.held.finished and is_retried:
            memory.report = ReportState.NONE
        is_missing = memory.source is SourceState.MISSING
        if is_missing and now - memory.source_asked_ns >= SOURCE_RETRY_SECONDS * _SECOND:
            memory.source = SourceState.UNKNOWN

    def _capacity(self, seen: Observation, body: Body) -> tuple[Capacity, bool]:
        uid = seen.test.uid
        phase = seen.held.phase
        has_begun = seen.is_active and (phase is None or phase.order >= Phase.PROVISIONING.order)
        created = str(body["metadata"].get("creationTimestamp", ""))
        if has_begun:
            return self._keep(seen, created)
        has_freed = self._ledger.release(uid)
        is_wanted = not seen.test.deleting and (seen.is_active or wanted_cause(seen) is not None)
        if not is_wanted or isinstance(seen.spec, Rejected) or seen.governing.is_killed:
            return Capacity(), self._ledger.withdraw(uid) or has_freed
        claim = Claim(uid, seen.spec.workers, seen.spec.users, created)
        return self._ledger.ask(claim, self._store.workers_alive(self._clock.wall_ns())), has_freed

    def _keep(self, seen: Observation, created: str) -> tuple[Capacity, bool]:
        """Hold the workers of a run that goes on, and take those that it is asked to have more."""
        now, asked = seen.held.workers or len(seen.worker_pods()), asked_workers(seen)
        if not seen.held.workers or asked <= now:
            return Capacity(), self._ledger.hold(seen.test.uid, seen.run, now)
        claim = Claim(seen.test.uid, asked, 0, created)
        return self._ledger.grow(claim, seen.run, now, self._store.workers_alive(self._clock.wall_ns())), False


def read_test(body: Mapping[str, Any]) -> LoadTestView:
    """Return the resource's identity and steering wishes; a wish of the wrong type is read as none."""
    metadata, spec = body["metadata"], body.get("spec")
    wishes: Mapping[str, Any] = spec if isinstance(spec, dict) else {}
    trigger, stop_run, class_name = wishes.get("trigger"), wishes.get("stopRun"), wishes.get("className")
    return LoadTestView(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata["name"]),
        uid=uid_of(body),
        generation=int(metadata.get("generation") or 0),
        deleting="deletionTimestamp" in metadata,
        last_run=str((metadata.get("annotations") or {}).get(naming.ANNOTATION_LAST_RUN, "")),
        trigger=trigger if isinstance(trigger, str) else None,
        suspend=wishes.get("suspend") is True,
        stop_run=stop_run if isinstance(stop_run, int) else None,
        class_name=class_name if isinstance(class_name, str) else None,
    )


def _accepted(loadtest: LoadTest) -> Accepted:
    scenarios = scenarios_of(loadtest.spec.scenarios)
    closed = [each.load for each in scenarios if each.load.model is not Model.RATE]
    return Accepted(
        workers=loadtest.spec.workers.replicas,
        users=sum(load.most_users for load in closed),
        graceful_stop_ns=max(each.graceful_stop_ns for each in scenarios),
        startup_timeout_ns=loadtest.spec.startup_timeout_ns,
        digest=spec_digest(loadtest.raw_spec),
        paused=loadtest.spec.load.is_paused,
        aims=aims_of(loadtest.spec.scenarios),
        config=loadtest.spec.config,
        parts=part_digests(loadtest.raw_spec),
        master_on_loss=loadtest.spec.master_on_loss,
        on_loss=loadtest.spec.workers.on_loss,
        min_available=loadtest.spec.workers.min_available,
        can_resize=can_resize(each.load for each in scenarios),
    )


def _source(loadtest: LoadTest | None, memory: Memory, now: int) -> SourceView:
    if loadtest is None or not isinstance(loadtest.spec.source.kind, ConfigMapSource):
        return SourceView()
    missing = _since(memory.source_missing_ns, now)
    return SourceView(memory.source, memory.source_message, missing)


def _has_all_pods(seen: Observation) -> bool:
    """Say whether a run that goes on lacks no pod, for all that its master says."""
    phase = seen.held.phase
    is_heard = seen.master is not None and seen.master.stage in {Stage.GATHERING, Stage.RUNNING}
    is_made = phase is not None and phase.order >= Phase.PROVISIONING.order
    return is_heard and is_made and not missing_pods(seen) and not added_pods(seen)


def _with_age(pod: PodView, memory: Memory, now: int) -> PodView:
    if pod.problem is None:
        return pod
    since = memory.problems.get((pod.name, str(pod.problem.reason)), now)
    return replace(pod, problem_seconds=(now - since) / _SECOND)


def _since(instant: int | None, now: int) -> float:
    # A thing that has just begun has lasted for some time, however short: zero means that it has not.
    return max(1e-9, (now - instant) / _SECOND) if instant is not None else 0.0


def _wall_ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1_000

"""Laws over the whole lives of LoadTests, against a model of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.runs import (
    PASSED,
    SPEC,
    TEST,
)

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_operator.actions import (
    CreateChildren,
    CreateWorkers,
    Decision,
    DeletePods,
    MarkRun,
    SaveReport,
    TellStored,
)
from loadstone_operator.decision import decide
from loadstone_operator.observation import (
    Accepted,
    LoadTestView,
    MasterView,
    Observation,
    PodView,
    Rejected,
    ReportState,
    Stage,
    WorkerView,
)
from loadstone_operator.status.held import read_held
from loadstone_operator.status.projection import Moment, project
from loadstone_operator.wishes import Steer

promise = pytest.mark.promise


# Whole lives: a model of the cluster applies what is decided, and users and the world interfere in between.


@dataclass
class World:
    """One LoadTest in a cluster that does at once what it is asked."""

    test: LoadTestView = TEST
    spec: Accepted | Rejected = SPEC
    status: dict[str, object] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    master: MasterView | None = None
    report: ReportState = ReportState.NONE
    steered: Steer | None = None
    memory_run: int = 0
    retired: set[tuple[int, int, int]] = field(default_factory=set)
    phases: list[tuple[int, Phase]] = field(default_factory=list)
    runs: set[int] = field(default_factory=set)

    def observe(self) -> Observation:
        seen = Observation(test=self.test, spec=self.spec, held=read_held(self.status), pods=tuple(self.pods.values()))
        if seen.run != self.memory_run:
            self.memory_run, self.master, self.report, self.steered = seen.run, None, ReportState.NONE, None
        return replace(
            seen,
            master=self.master,
            report=self.report,
            steered=self.steered,
            seconds_watched=100.0,
            seconds_stored=100.0 if self.master and self.master.stored else 0.0,
        )

    def apply(self, decision: Decision) -> None:
        seen = self.observe()
        for action in decision.actions:
            self._do(action)
        if decision.update is not None:
            self.status = project(self.status, seen, decision.update, Moment(1, 1))
            held = read_held(self.status)
            if held.phase and held.run:
                self.phases.append((held.run, held.phase))

    def _do(self, action: object) -> None:
        match action:
            case CreateChildren(run=run, epoch=epoch, workers=workers):
                self.runs.add(run)
                self._pod(PodView(f"m-{run}-{epoch}", f"m-{run}-{epoch}", "master", run, epoch=epoch, phase="Running"))
                for index in range(workers):
                    self._pod(PodView(f"w-{run}-{index}", f"w-{run}-{index}", "worker", run, index, phase="Running"))
            case CreateWorkers(run=run, workers=workers):
                self._replace(run, workers)
            case DeletePods(pods=pods):
                for name, _ in pods:
                    self.pods.pop(name, None)
            case Steer():
                self.steered = action
            case SaveReport():
                self.report = ReportState.SAVED
            case TellStored():
                assert self.master is not None
                self.master = replace(self.master, stored=True)
            case MarkRun(value=value):
                self.test = replace(self.test, last_run=value)

    def _replace(self, run: int, workers: tuple[tuple[int, int], ...]) -> None:
        for index, attempt in workers:
            name = f"w-{run}-{index}-{attempt}"
            self._pod(PodView(name, name, "worker", run, index, attempt=attempt, phase="Running"))

    def _pod(self, pod: PodView) -> None:
        self.pods.setdefault(pod.name, pod)

    def settle(self) -> int:
        """Decide and apply until nothing changes; return after how many steps."""
        for step in range(20):
            decision = decide(self.observe())
            before = (self.status, dict(self.pods), self.master, self.report, self.steered, self.test)
            self.apply(decision)
            if before == (self.status, self.pods, self.master, self.report, self.steered, self.test):
                return step
        raise AssertionError("does not come to rest")


STAGES = [Stage.GATHERING, Stage.ARMED, Stage.RUNNING, Stage.STOPPING]


def happen(world: World, what: str, number: int) -> None:
    wish = wishes(world, number).get(what)
    if wish is not None:
        world.test = replace(world.test, generation=world.test.generation + 1, **wish)
        asked = replace(SPEC, workers={"more": 4, "fewer": 1}.get(what, SPEC.workers))
        world.spec = Rejected((Problem("spec", "is wrong"),)) if what == "break" else asked
    elif what == "restart operator":
        world.master, world.report, world.steered = None, ReportState.NONE, None
    elif what in ("stage", "outcome"):
        speak(world, STAGES[number % 4], is_over=what == "outcome")
    else:
        world.pods = FAULTS[what](world.pods)


def wishes(world: World, number: int) -> dict[str, dict[str, object]]:
    return {
        "edit": {},
        "more": {},
        "fewer": {},
        "break": {},
        "trigger": {"trigger": f"t{number}"},
        "suspend": {"suspend": True},
        "resume": {"suspend": False},
        "stop": {"stop_run": world.observe().run},
    }


FAULTS = {
    "lose master": lambda pods: {name: pod for name, pod in pods.items() if pod.role != "master"},
    "lose worker": lambda pods: {name: pod for name, pod in pods.items() if not name.startswith("w-1-0")},
    "fail worker": lambda pods: {
        name: replace(pod, phase="Failed") if name.startswith("w-1-1") else pod for name, pod in pods.items()
    },
    "finish pods": lambda pods: {name: replace(pod, phase="Succeeded") for name, pod in pods.items()},
}


def speak(world: World, stage: Stage, *, is_over: bool) -> None:
    """The master says where it is, if there is one; what it has concluded it does not take back."""
    if not any(pod.role == "master" and not pod.is_terminal for pod in world.pods.values()):
        return
    held = world.master or MasterView(connected=True)
    outcome = PASSED if is_over else held.outcome
    wanted = (world.steered.workers if world.steered else 0) or read_held(world.status).planned
    there = {pod.worker for pod in world.observe().worker_pods() if not pod.is_terminal}
    workers = tuple(worker_of(world, index, wanted) for index in sorted({*range(wanted), *there}))
    stage = Stage.FINISHED if outcome else stage
    world.master = replace(held, connected=True, stage=stage, outcome=outcome, workers=workers)


def worker_of(world: World, index: int, wanted: int) -> WorkerView:
    """The master has heard of the newest attempt that runs; of one that has ended it says that it is lost.

    One that it has to do without gives up its load at once and for good, and one that is new is awaited.
    """
    number = world.observe().run
    pods = [pod for pod in world.observe().worker_pods() if pod.worker == index]
    attempt = max([1, *(pod.attempt for pod in pods)])
    lives = any(not pod.is_terminal for pod in pods)
    is_known = any((run, worker) == (number, index) for run, worker, _ in world.retired)
    if not pods and index >= read_held(world.status).planned and not is_known:
        return WorkerView(index, 0, "Expected")
    if lives and index >= wanted:
        world.retired.add((number, index, attempt))
    if not pods:
        # It speaks of the attempt that it has heard last.
        attempt = max([1, *(each for run, worker, each in world.retired if (run, worker) == (number, index))])
    if (number, index, attempt) in world.retired:
        return WorkerView(index, attempt, "Retired" if lives else "Ended")
    return WorkerView(index, attempt, "Running" if lives else "Lost")


happenings = st.sampled_from([*wishes(World(), 0), *FAULTS, "restart operator", "stage", "outcome"])


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_a_decision_applied_leaves_nothing_to_decide(story: list[str]) -> None:
    world = World()
    world.settle()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()

        assert world.settle() == 0


@pytest.mark.promise("live-replicas")
@settings(max_examples=60)
@given(st.lists(happenings, max_size=15), st.lists(st.sampled_from(["edit", "more", "fewer"]), min_size=1, max_size=6))
def test_whatever_happens_a_run_that_goes_on_comes_to_as_many_workers_as_are_wanted(
    story: list[str], edits: list[str]
) -> None:
    world = World()
    for number, what in enumerate([*story, *edits]):
        happen(world, what, number)
        world.settle()
    for _ in range(4):
        happen(world, "stage", STAGES.index(Stage.RUNNING))
        world.settle()

    seen = world.observe()
    if seen.held.phase is not Phase.RUNNING or seen.wanted_stop or seen.held.finished:
        return
    assert isinstance(world.spec, Accepted)
    assert seen.held.workers == world.spec.workers
    alive = [pod.worker for pod in seen.pods if pod.role == "worker" and pod.run == seen.run and not pod.is_terminal]
    exhausted = {worker for worker, attempt in seen.held.attempts.items() if attempt >= 5}
    assert {*alive} | exhausted == {*range(seen.held.workers)} | exhausted
    assert len(alive) == len({*alive})


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_there_is_at_most_one_master_at_work_in_a_run(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()
        masters = [pod for pod in world.pods.values() if pod.role == "master" and not pod.is_terminal]

        assert len({pod.run for pod in masters}) == len(masters)
        if world.observe().is_active:
            assert [pod.run for pod in masters if pod.run == world.observe().run] in ([], [world.observe().run])


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_whatever_happens_the_phase_of_a_run_never_goes_back(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()

    for (run, phase), (next_run, next_phase) in zip(world.phases, world.phases[1:], strict=False):
        assert next_run >= run
        assert next_run > run or next_phase.order >= phase.order


@settings(max_examples=60)
@given(st.lists(happenings, max_size=25))
def test_without_a_trigger_or_a_release_nothing_runs_twice(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        if what not in ("trigger", "resume"):
            happen(world, what, number)
            world.settle()

    assert world.runs <= {1}


@given(st.lists(happenings, max_size=12))
def test_a_deletion_needs_nothing_more_from_the_operator(story: list[str]) -> None:
    world = World()
    for number, what in enumerate(story):
        happen(world, what, number)
        world.settle()
    world.test = replace(world.test, deleting=True)

    assert decide(world.observe()) == Decision()

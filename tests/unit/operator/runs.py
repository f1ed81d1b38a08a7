"""One run of two workers as the operator sees it, to be changed by a test in what it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import End
from loadstone_operator.naming import last_run_mark
from loadstone_operator.observation import (
    Accepted,
    Held,
    LoadTestView,
    MasterView,
    Observation,
    Outcome,
    PodView,
    ReportState,
    Stage,
)

if TYPE_CHECKING:
    from loadstone_operator.actions import Decision


def pod(worker: int, attempt: int = 1, **changes: Any) -> PodView:
    name = f"checkout-w-1-{worker}-{attempt}"
    return replace(PodView(name, name, "worker", 1, worker=worker, attempt=attempt, phase="Running"), **changes)


TEST = LoadTestView(namespace="shop", name="checkout", uid="uid-1", generation=7)
SPEC = Accepted(
    workers=2, users=50, graceful_stop_ns=30 * 10**9, startup_timeout_ns=600 * 10**9, digest="sha256:abcdefabcdefabcd"
)
NEW = Observation(test=TEST, spec=SPEC)
MASTER = PodView("checkout-m-1-1", "pod-m", "master", 1, epoch=1, phase="Running", ip="10.0.0.1")
WORKERS = (pod(0), pod(1))
MARK = last_run_mark("uid-1", SPEC.digest, None)
RUN = Held(
    observed_generation=7,
    phase=Phase.PROVISIONING,
    run=1,
    last_run=1,
    workers=2,
    planned=2,
    made=2,
    can_resize=True,
    generation=7,
    digest=SPEC.digest,
)
PROVISIONING = Observation(
    test=replace(TEST, last_run=MARK), spec=SPEC, held=RUN, pods=(MASTER, *WORKERS), seconds_watched=60.0
)
RUNNING = replace(
    PROVISIONING,
    held=replace(RUN, phase=Phase.RUNNING),
    master=MasterView(connected=True, stage=Stage.RUNNING),
    seconds_in_run=20.0,
)
PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "All held.", 0, results={"requests": 10}, has_report=True)
FINISHED = replace(
    RUNNING,
    held=replace(RUN, phase=Phase.FINISHED, finished=True, verdict="Passed", reason="Passed", report=ReportState.SAVED),
    pods=tuple(replace(pod, phase="Succeeded") for pod in (MASTER, *WORKERS)),
    master=None,
)


def end_of(decision: Decision) -> End:
    assert isinstance(decision.update, End), decision
    return decision.update

"""One run of two workers as the operator sees it, to be changed by a test in what it is about."""

from dataclasses import replace
from typing import Any

from loadstone_core.lifecycle.phases import Phase
from loadstone_operator.naming import last_run_mark
from loadstone_operator.observation import Accepted, Held, LoadTestView, Observation, PodView

SPEC = Accepted(2, 50, 30 * 10**9, 600 * 10**9, "sha256:abcdefabcdefabcd")
TEST = LoadTestView("shop", "checkout", "uid-1", 7, last_run=last_run_mark("uid-1", SPEC.digest, None))
HELD = Held(
    observed_generation=7,
    phase=Phase.RUNNING,
    run=1,
    last_run=1,
    workers=2,
    planned=2,
    made=2,
    can_resize=True,
    generation=7,
    digest=SPEC.digest,
)
MASTER = PodView("checkout-m-1-1", "pod-m", "master", 1, epoch=1, phase="Running", ip="10.0.0.1")
RUNNING = Observation(test=TEST, spec=SPEC, held=HELD, pods=(MASTER,), seconds_watched=60.0, seconds_in_run=20.0)


def pod(worker: int, attempt: int = 1, **changes: Any) -> PodView:
    name = f"checkout-w-1-{worker}-{attempt}"
    return replace(PodView(name, name, "worker", 1, worker=worker, attempt=attempt, phase="Running"), **changes)

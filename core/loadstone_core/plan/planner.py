"""Make the plan of a run out of a valid spec. Pure: same spec, same plan.

Where pods run and what they are called is not planned here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.load.profile import Model
from loadstone_core.load.scenario import scenarios_of
from loadstone_core.load.share import share
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import OnHandlerError

if TYPE_CHECKING:
    from loadstone_core.load.profile import LoadProfile
    from loadstone_core.spec.model import LoadTestSpec


def plan_run(
    spec: LoadTestSpec, identity: RunIdentity, *, spec_digest: str, script: ScriptRef, engines_per_worker: int
) -> RunPlan:
    """Return the plan of one run.

    Args:
        spec: what is asked, without problems.
        identity: the run and its first master.
        spec_digest: of the spec as it was written.
        script: the files as the pods will mount them.
        engines_per_worker: for how many engines a worker has room; no worker gets more than its share of the load.
    """
    scenarios = scenarios_of(spec.scenarios)
    at_once = sum(_at_once(each.load) for each in scenarios)
    workers = spec.workers.replicas
    return RunPlan(
        run=identity,
        spec_digest=spec_digest,
        workers=workers,
        engines_per_worker=max(1, min(engines_per_worker, share(at_once, 0, workers))),
        scenarios=scenarios,
        tolerance_ppm=spec.load.tolerance_ppm,
        target=spec.load.target,
        percentiles=spec.results.percentiles,
        thresholds=spec.thresholds,
        warm_up_ns=spec.load.warm_up_ns,
        startup_timeout_ns=spec.startup_timeout_ns,
        script=script,
        config=spec.config,
        dropped=spec.results.dropped,
        master_on_loss=spec.master_on_loss,
        fails_on_handler_error=spec.on_handler_error is OnHandlerError.FAIL,
        on_loss=spec.workers.on_loss,
        max_lost_percent=spec.workers.max_lost_percent,
        min_available=spec.workers.min_available,
        lease_ns=spec.transport.lease_ns,
        tls=spec.transport.tls,
    )


def _at_once(load: LoadProfile) -> int:
    """Return how many engines could have something to do at the same time."""
    peak = load.most_users
    if load.model is Model.ITERATIONS and load.iterations is not None:
        return min(peak, load.iterations)
    return peak if load.max_users is None else min(peak, load.max_users)

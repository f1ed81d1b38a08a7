"""Plans of whole runs on this machine: what is not said is as most tests want it. No test is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.load.scenario import Scenario


def local_plan(name: str, files: Mapping[str, bytes], *scenarios: Scenario, workers: int, **changes: Any) -> RunPlan:
    """Return the plan of a run of `test.py`, which is one of the files; its target is that of its scenarios."""
    values: dict[str, Any] = {
        "run": RunIdentity(uid=f"{name}/1", loadtest=name, namespace="local", number=1, epoch=1),
        "spec_digest": "sha256:00",
        "workers": workers,
        "engines_per_worker": 1,
        "scenarios": scenarios,
        "tolerance_ppm": 10_000,
        "target": scenarios[0].target,
        "percentiles": ("50",),
        "thresholds": (),
        "warm_up_ns": 0,
        "startup_timeout_ns": 60 * SECOND,
        "script": ScriptRef(digest=files_digest(files), directory="/scripts", entrypoint="test.py"),
    }
    return RunPlan(**{**values, **changes})

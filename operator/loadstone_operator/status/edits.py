"""Say which edits of a spec a run that goes on does not follow. Pure; what a part is, is known to `spec.digest`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.spec.digest import edited
from loadstone_operator.observation import Accepted
from loadstone_operator.resizing import are_pods_alike

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_operator.observation import SpecView

_PATHS_MOST: Final = 8
_REPLICAS: Final = "workers.replicas"


def for_the_next_run(parts: Mapping[str, str], spec: SpecView, *, can_resize: bool, workers: int) -> str:
    """Return a sentence on what was edited since the run was planned with `parts` and waits for the next one.

    Args:
        parts: digests of what the run was planned with.
        spec: as it is now.
        can_resize: the run takes another number of workers.
        workers: how many it is to have now.
    """
    if not parts or not isinstance(spec, Accepted):
        return ""
    # To have more of them, they must be like the others.
    is_live = can_resize and (spec.workers <= workers or are_pods_alike(parts, spec))
    paths = [path for path in edited(parts, spec.parts) if path != _REPLICAS or not is_live]
    if not paths:
        return ""
    named = ", ".join(f"spec.{path}" for path in paths[:_PATHS_MOST])
    more = f" and {len(paths) - _PATHS_MOST} more" if len(paths) > _PATHS_MOST else ""
    return (
        f"The edit of {named}{more} counts from the next run on (set spec.trigger); in a run only users, rate and "
        "spawnRate of constant loads, load.paused, config, workers.replicas (unless a load is a number of iterations), "
        "className, stopRun and suspend take effect."
    )

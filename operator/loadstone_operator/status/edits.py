"""Say which edits of a spec a run that goes on does not follow. Pure; what a part is, is known to `spec.digest`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.spec.digest import edited
from loadstone_operator.observation import Accepted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_operator.observation import SpecView

_PATHS_MOST: Final = 8


def for_the_next_run(parts: Mapping[str, str], spec: SpecView) -> str:
    """Return a sentence on what was edited since the run was planned with `parts` and waits for the next one."""
    if not parts or not isinstance(spec, Accepted):
        return ""
    paths = edited(parts, spec.parts)
    if not paths:
        return ""
    named = ", ".join(f"spec.{path}" for path in paths[:_PATHS_MOST])
    more = f" and {len(paths) - _PATHS_MOST} more" if len(paths) > _PATHS_MOST else ""
    return (
        f"The edit of {named}{more} counts from the next run on (set spec.trigger); in a run only users, rate and "
        "spawnRate of constant loads, load.paused, config, stopRun and suspend take effect."
    )

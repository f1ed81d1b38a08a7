"""Say which metrics and labels are left out before anything is recorded under them.

What is written is `first_byte` for a metric and `checks{tier}` for a label of one. Where series are kept is `series`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.stats.metrics import (
    DERIVED,
    DROPPED_ITERATIONS,
    ITERATION_DURATION,
    ITERATIONS,
    LATENCY,
    SCHEDULE_SLIP,
    USERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.stats.metrics import SeriesKey

# Counts of requests, failures and iterations, and what the verdict says of the load, are read from these.
NEEDED: Final = DERIVED | {LATENCY, ITERATIONS, ITERATION_DURATION, DROPPED_ITERATIONS, SCHEDULE_SLIP, USERS}
_FIELDS: Final = frozenset({"scenario", "method", "name"})


class Dropping:
    """What is left out, by metric: the whole of it, or some of its labels."""

    __slots__ = ("_labels", "_metrics")

    def __init__(self, written: Iterable[str] = ()) -> None:
        self._metrics: set[str] = set()
        self._labels: dict[str, set[str]] = {}
        for metric, label in map(_parts, written):
            if label:
                self._labels.setdefault(metric, set()).add(label)
            else:
                self._metrics.add(metric)

    def has_metric(self, metric: str) -> bool:
        """Say whether nothing is recorded of a metric."""
        return metric in self._metrics

    def kept(self, key: SeriesKey) -> SeriesKey:
        """Return a key without the labels that are left out."""
        unwanted = self._labels.get(key.metric)
        if unwanted is None or not key.labels:
            return key
        return key._replace(labels=tuple(pair for pair in key.labels if pair[0] not in unwanted))


def refusal(written: str, used: Iterable[tuple[str, Iterable[str]]]) -> str | None:
    """Return why something that is written cannot be left out, None if it can.

    Args:
        written: a metric, or one of its labels in braces.
        used: the metrics that thresholds ask for, each with the names of the labels that they select by.
    """
    metric, label = _parts(written)
    if label in _FIELDS:
        return f"{label} is no label of the script, so it cannot be left out; name the metric alone"
    if metric in NEEDED and not label:
        return f"{metric} cannot be left out: the counts of the results and the verdict are made from it"
    for asked, labels in used:
        if asked == metric and (not label or label in labels):
            return f"{written} cannot be left out: a threshold uses it; leave the threshold out, too"
    return None


def _parts(written: str) -> tuple[str, str]:
    """Return metric and label of what is written; an empty label if it is the metric."""
    metric, _, rest = written.partition("{")
    return metric, rest.removesuffix("}").strip()

"""Show an agent's own health to Prometheus, in its text format. A run's results are the master's to show.

Made by hand, as a few gauges are not worth the start-up time of a client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One sample of one metric without labels."""

    name: str  # without the prefix
    kind: str  # "counter" or "gauge"
    help: str
    value: float


def exposition(metrics: Iterable[Metric]) -> str:
    """Return samples in Prometheus' text format 0.0.4."""
    return "".join(
        f"# HELP loadstone_agent_{each.name} {each.help}\n"
        f"# TYPE loadstone_agent_{each.name} {each.kind}\n"
        f"loadstone_agent_{each.name} {each.value!r}\n"
        for each in metrics
    )


async def render(metrics: Iterable[Metric]) -> tuple[bytes, str]:
    """Return the page of `exposition` and its content type, as `scraping` serves it."""
    return exposition(metrics).encode(), CONTENT_TYPE

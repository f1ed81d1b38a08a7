"""Show an agent's own health to Prometheus, in its text format. A run's results are the master's to show.

Made by hand, as a few gauges are not worth the start-up time of a client library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One sample of one metric; samples of one metric follow each other."""

    name: str  # without the prefix
    kind: str  # "counter" or "gauge"
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def exposition(metrics: Iterable[Metric]) -> str:
    """Return samples in Prometheus' text format 0.0.4."""
    lines = []
    before = ""
    for each in metrics:
        name = f"loadstone_agent_{each.name}"
        if name != before:
            lines += [f"# HELP {name} {each.help}", f"# TYPE {name} {each.kind}"]
        before = name
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in each.labels)
        lines.append(f"{name}{{{labels}}} {each.value!r}" if labels else f"{name} {each.value!r}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def render(metrics: Iterable[Metric]) -> tuple[bytes, str]:
    """Return the page of `exposition` and its content type, as `scraping` serves it."""
    return exposition(metrics).encode(), CONTENT_TYPE

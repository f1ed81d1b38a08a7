"""The one form of a benchmark's result: a line a figure, and the same in results/NAME.json."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it is, its value and unit, and over how many runs."""

    name: str
    value: float
    unit: str
    runs: int


def spread(name: str, values: Sequence[float], unit: str) -> list[Figure]:
    """Return median and worst of `values` as two figures."""
    return [
        Figure(name, round(statistics.median(values), 4), unit, len(values)),
        Figure(f"{name}_worst", round(max(values), 4), unit, len(values)),
    ]


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Return the median of ours over the median of theirs, measured in turn in one run."""
    return Figure(name, round(statistics.median(ours) / statistics.median(theirs), 3), "x", len(ours))


def show(figures: Sequence[Figure]) -> None:
    """Print the figures: name, value, unit."""
    for figure in figures:
        print(f"{figure.name} {figure.value:g} {figure.unit}")


def publish(benchmark: str, figures: Sequence[Figure], versions: dict[str, str] | None = None) -> None:
    """Print the figures and write them to results/BENCHMARK.json."""
    show(figures)
    document = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), "loadstone": version("loadstone"), **(versions or {})},
        "figures": [asdict(figure) for figure in figures],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{benchmark}.json").write_text(json.dumps(document, indent=2) + "\n")

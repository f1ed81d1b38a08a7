"""Print the end of a run: endpoints, thresholds, the verdict and where the report lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadstone_core.units import format_latency, format_share

_COLOURS = {"Passed": "green", "Failed": "red", "Error": "red", "Inconclusive": "yellow", "Aborted": "yellow"}


def print_result(name: str, status: Mapping[str, Any], report: Path | None, console: Console | None = None) -> None:
    """Print the result in `status` (as a LoadTest's status) for people."""
    out = console or Console()
    results = status.get("results") or {}
    if results.get("endpoints"):
        out.print(_endpoints(results))
        out.print(_totals(results, status.get("load") or {}))
    if status.get("thresholds"):
        out.print(_thresholds(status["thresholds"]))
    colour = _COLOURS.get(str(status["verdict"]), "white")
    out.print(f"[{colour} bold]{status['verdict']}[/] ({status['reason']}) ", end="")
    out.print(str(status["message"]), markup=False, highlight=False)
    for finding in status.get("findings") or []:
        out.print(f"  {finding}", markup=False, highlight=False)
    if report is not None:
        out.print(f"report of {name}: {report}", markup=False, highlight=False, soft_wrap=True)


def _endpoints(results: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    shown = [key for key in results["latencyMicros"] if key != "min"]
    for heading in ("method", "name"):
        table.add_column(heading)
    for heading in ("requests", "failures", *shown):
        table.add_column(heading, justify="right")
    rows = [
        *results["endpoints"],
        {"method": "", "name": "all", **{k: results[k] for k in ("requests", "failures", "latencyMicros")}},
    ]
    for row in rows:
        latency = row["latencyMicros"]
        share = f"{row['failures']} ({format_share(row['failures'], row['requests'])})"
        cells = [format_latency(latency[key]) if key in latency else "-" for key in shown]
        table.add_row(row["method"], row["name"], str(row["requests"]), share, *cells)
    return table


def _totals(results: Mapping[str, Any], load: Mapping[str, Any]) -> str:
    parts = [f"{results['rpsAvgMilli'] / 1000:.1f} requests/s"]
    if load:
        parts.append(f"load {load['achieved']} of {load['planned']} {load['unit']}")
    parts.extend(f"{results[key]} {key}" for key in ("unsent", "ambiguous", "unaccounted") if results.get(key))
    checks = results.get("checks") or {}
    if checks:
        parts.append(f"checks {checks['passed']} passed, {checks['failed']} failed")
    return "\n" + " · ".join(parts)


def _thresholds(thresholds: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("threshold", "wanted", "seen", "verdict"):
        table.add_column(heading)
    for row in thresholds:
        colour = {"Passed": "green", "Failed": "red"}.get(row["verdict"], "yellow")
        # Expressions hold square brackets and braces, so they are not read as markup.
        table.add_row(
            row["name"], _plain(row["expr"]), _plain(row.get("actual", "-")), f"[{colour}]{row['verdict']}[/]"
        )
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")

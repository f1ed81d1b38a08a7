"""Print the end of a run: endpoints, thresholds, the verdict and where the report lies."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadstone_core.units import format_latency, format_share

PLAIN_WIDTH = 120
LATENCY_WIDTH = 8
FEWEST_LATENCIES = 3
LESS_WANTED = ("avg", "p90", "p99.9", "p50")
_COLOURS = {"Passed": "green", "Failed": "red", "Error": "red", "Inconclusive": "yellow", "Aborted": "yellow"}


def print_result(name: str, status: Mapping[str, Any], report: Path | None, console: Console | None = None) -> None:
    """Print the result in `status` (as a LoadTest's status) for people."""
    # Without a terminal nobody knows the width, and a log line may be long.
    out = console or Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    results = status.get("results") or {}
    if results.get("endpoints"):
        out.print(_endpoints(results, out.width))
        out.print(_totals(results, status.get("load") or {}))
    if (status.get("load") or {}).get("scenarios"):
        out.print(_scenarios(status["load"]["scenarios"]))
    for remark in (status.get("load") or {}).get("remarks") or []:
        out.print(f"note: {remark}", markup=False, highlight=False)
    if status.get("thresholds"):
        out.print(_thresholds(status["thresholds"]))
    colour = _COLOURS.get(str(status["verdict"]), "white")
    reason = "" if status["reason"] == status["verdict"] else f" ({status['reason']})"
    out.print(f"\n[{colour} bold]{status['verdict']}[/]{reason}: ", end="")
    out.print(str(status["message"]), markup=False, highlight=False)
    for finding in status.get("findings") or []:
        out.print(f"  {finding}", markup=False, highlight=False)
    if report is not None:
        out.print(f"report of {name}: {report}", markup=False, highlight=False, soft_wrap=True)


def _endpoints(results: Mapping[str, Any], width: int) -> Table:
    """Return a row an endpoint and one for all. Columns that do not fit are left out; the report has them."""
    rows = [*results["endpoints"], {**results, "method": "", "name": "all"}]
    room = width - 30 - max(len(row["name"]) for row in rows[:20])
    keys = [key for key in results["latencyMicros"] if key != "min"]
    while len(keys) * LATENCY_WIDTH > room and len(keys) > FEWEST_LATENCIES:
        keys.remove(next((key for key in LESS_WANTED if key in keys), keys[-1]))
    table = Table(box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    table.add_column("name", overflow="fold")
    for heading in ("requests", "failed", *keys):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        latency = row["latencyMicros"]
        cells = [format_latency(latency[key]) if key in latency else "-" for key in keys]
        failed = format_share(row["failures"], row["requests"])
        table.add_row(_plain(row["method"]), _plain(row["name"]), str(row["requests"]), failed, *cells)
    return table


def _totals(results: Mapping[str, Any], load: Mapping[str, Any]) -> str:
    parts = [f"{results['rpsAvgMilli'] / 1000:.1f} requests/s"]
    if "planned" in load:
        parts.append(f"load {load['achieved']} of {load['planned']} {load['unit']}")
    parts.extend(f"{results[key]} {key}" for key in ("unsent", "ambiguous", "measured") if results.get(key))
    # What a lost worker did after its last report is known to nobody, also where nothing else is missing.
    if results.get("unaccountedAtLeast"):
        parts.append(f"at least {results['unaccounted']} unaccounted")
    elif results.get("unaccounted"):
        parts.append(f"{results['unaccounted']} unaccounted")
    checks = results.get("checks") or {}
    if checks:
        parts.append(f"checks {checks['passed']} passed, {checks['failed']} failed")
    return "\n" + " · ".join(parts)


def _scenarios(scenarios: list[Mapping[str, Any]]) -> Table:
    """Return a row for each scenario."""
    table = Table(box=None, pad_edge=False)
    table.add_column("scenario")
    for heading in ("requests", "failed", "users", "achieved", "planned", "unit", "dropped"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for row in scenarios:
        failed = format_share(row["failures"], row["requests"])
        numbers = (str(row[key]) for key in ("achieved", "planned", "unit", "dropped"))
        table.add_row(row["name"], str(row["requests"]), failed, str(row["users"]), *numbers)
    return table


def _thresholds(thresholds: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("threshold", "wanted", "seen", "verdict"):
        table.add_column(heading)
    for row in thresholds:
        colour = {"Passed": "green", "Failed": "red"}.get(row["verdict"], "yellow")
        table.add_row(
            row["name"], _plain(row["expr"]), _plain(row.get("actual", "-")), f"[{colour}]{row['verdict']}[/]"
        )
    return table


def _plain(text: str) -> str:
    """Return a cell whose square brackets, as in `/orders/[id]`, are not read as markup."""
    return text.replace("[", "\\[")

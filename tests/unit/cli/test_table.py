"""What people read at the end of a run is what was measured, letter by letter."""

import io

import pytest
from rich.console import Console

from loadstone_cli.table import print_result

LATENCY = {"avg": 1_000, "p95": 2_000}
STATUS = {
    "verdict": "Passed",
    "reason": "Passed",
    "message": "1 of 1 threshold held",
    "results": {
        "requests": 3,
        "failures": 0,
        "rpsAvgMilli": 1_500,
        "latencyMicros": LATENCY,
        "endpoints": [
            {"method": "GET", "name": "/orders/[id]", "requests": 3, "failures": 0, "latencyMicros": LATENCY},
        ],
    },
    "thresholds": [
        {"name": "fast", "expr": 'latency{name="/orders/[id]"}:p95 < 3s', "actual": "2ms", "verdict": "Passed"}
    ],
}


def test_square_brackets_in_names_and_expressions_are_printed() -> None:
    text = io.StringIO()
    print_result("orders", STATUS, None, Console(file=text, width=120))

    assert text.getvalue().count("/orders/[id]") == 2


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({}, ""),
        ({"unaccounted": 2}, " · 2 unaccounted"),
        ({"unaccounted": 0, "unaccountedAtLeast": True}, " · at least 0 unaccounted"),
        ({"unaccounted": 7, "unaccountedAtLeast": True}, " · at least 7 unaccounted"),
    ],
)
def test_what_is_missing_in_the_results_is_printed_beside_them(missing: dict[str, object], said: str) -> None:
    text = io.StringIO()
    status = {**STATUS, "results": {**STATUS["results"], **missing}}  # type: ignore[dict-item]
    print_result("orders", status, None, Console(file=text, width=120))

    assert f"1.5 requests/s{said}\n" in text.getvalue()

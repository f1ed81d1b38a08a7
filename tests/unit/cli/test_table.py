"""What people read at the end of a run is what was measured, letter by letter."""

import io

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

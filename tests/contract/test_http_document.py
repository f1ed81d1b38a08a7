"""docs/http.md says what the HTTP client does: every option, every failure, every time."""

import re
from pathlib import Path

from loadstone.http import RequestOptions
from loadstone.options import FIELD_NAMES
from loadstone_core.stats.metrics import Phase
from loadstone_runner.engine.http.failures import FailureKind

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()


def first_column(heading: str) -> list[str]:
    """Return what is named in the first column of the first table below a heading."""
    below = TEXT.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    rows = table[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def test_every_option_of_a_class_is_documented_in_order() -> None:
    assert first_column("## HttpOptions") == list(FIELD_NAMES)


def test_every_option_of_a_request_is_documented() -> None:
    assert sorted(first_column("## Requests")) == sorted(RequestOptions.__annotations__)


def test_every_kind_of_failure_is_documented() -> None:
    assert sorted(first_column("## Failures")) == sorted([*FailureKind, "status NNN"])


def test_every_phase_is_documented() -> None:
    assert set(first_column("## Times")) == {*Phase, "latency", "service_time", "message_latency"}

"""The report of a run is kept whatever becomes of its log, and the status says which of them there is."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.operator.shell import Operator, run, running

from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator import acting
from loadstone_operator.cluster.errors import Unreachable
from loadstone_operator.observation import MasterView, Outcome, Stage

PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)
OVER = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)


async def hang(_uid: str, _size: int) -> bytes:
    await asyncio.sleep(60)
    return b"log"


async def refuse(_uid: str, _size: int) -> bytes:
    raise Unreachable(0, "no connection")


async def print_nothing(_uid: str, _size: int) -> bytes:
    return b""


def results_saved(fetch_log: Callable[[str, int], Awaitable[bytes]]) -> tuple[str, str]:
    """Return what the status says of a report whose log is fetched in this way; it is kept, and the master let go."""
    operator = Operator()

    async def story() -> None:
        await running(operator)
        operator.masters.fetch_log = fetch_log  # type: ignore[method-assign, assignment]
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        assert operator.cluster.reports == [(1, b"report")]
        assert (operator.status()["verdict"], operator.status()["report"]) == ("Passed", "checkout-report")
        await operator.look()
        assert operator.masters.views["uid-checkout"].stored

    run(story())
    (condition,) = (each for each in operator.status()["conditions"] if each["type"] == "ResultsSaved")
    return condition["status"], condition["reason"]


@pytest.mark.promise("report")
@pytest.mark.parametrize("fetch_log", [hang, refuse])
def test_a_report_is_kept_though_its_log_does_not_come_and_the_status_says_so(
    fetch_log: Callable[[str, int], Awaitable[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "LOG_SECONDS", 0.05, raising=False)

    assert results_saved(fetch_log) == ("True", "SavedWithoutLog")


def test_a_run_that_has_printed_nothing_lacks_no_log() -> None:
    assert results_saved(print_nothing) == ("True", "Saved")

"""A report is kept in a ConfigMap of the LoadTest's own, and in nobody else's."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.operator.shell import SECOND, Operator, run, running

from loadstone_core.clock import ManualClock
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.cluster.api import Kind
from loadstone_operator.cluster.cluster import KubernetesCluster
from loadstone_operator.cluster.errors import NotFound
from loadstone_operator.looking import REPORT_RETRY_SECONDS
from loadstone_operator.observation import LoadTestView, MasterView, Outcome, Stage
from loadstone_operator.ports import NameHeld

TEST = LoadTestView("shop", "checkout", "uid-1", 1)
PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)


class MemoryConfigMaps:
    """The API server's end of ConfigMaps: an apply with force takes over whatever is there."""

    def __init__(self, **held: dict[str, Any]) -> None:
        self.held = held

    async def get(self, _kind: Kind, _namespace: str, name: str) -> dict[str, Any]:
        if name not in self.held:
            raise NotFound(404, "no such ConfigMap")
        return self.held[name]

    async def apply(self, _kind: Kind, _namespace: str, body: Mapping[str, Any]) -> None:
        name = body["metadata"]["name"]
        self.held[name] = {**self.held.get(name, {}), **body}


def save(config_maps: MemoryConfigMaps, number: int) -> None:
    cluster = KubernetesCluster(
        config_maps,  # type: ignore[arg-type]  # what is asked of an Api
        ManualClock(),
        None,  # type: ignore[arg-type]  # a report is signed by nobody
        namespaces=(),
        instance="operator-1",
    )
    asyncio.run(cluster.save_report(TEST, number, b"report %d" % number, gzip_log=b""))


@pytest.mark.promise("report")
def test_each_run_puts_its_report_where_the_one_before_was() -> None:
    config_maps = MemoryConfigMaps()
    save(config_maps, 1)
    first = dict(config_maps.held)
    save(config_maps, 2)

    assert config_maps.held.keys() == first.keys() == {"checkout-report"}
    assert config_maps.held != first


@pytest.mark.promise("report")
@pytest.mark.parametrize("uid", ["", "uid-of-a-predecessor"])
def test_a_config_map_of_somebody_elses_is_not_taken_over_by_a_report(uid: str) -> None:
    owners = [{"kind": "LoadTest", "apiVersion": "loadstone.dev/v1alpha1", "uid": uid}] if uid else []
    notes = {"metadata": {"name": "checkout-report", "ownerReferences": owners}, "data": {"notes": "mine"}}
    config_maps = MemoryConfigMaps(**{"checkout-report": notes})

    with pytest.raises(NameHeld, match="checkout-report exists and does not belong to this LoadTest"):
        save(config_maps, 1)
    assert config_maps.held == {"checkout-report": notes}


@pytest.mark.promise("report")
def test_a_report_whose_name_is_taken_delays_no_verdict_says_why_and_is_kept_when_the_name_is_free() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        save_report = operator.cluster.save_report

        async def refuse(*_: Any, **__: Any) -> None:
            raise NameHeld("taken")

        operator.cluster.save_report = refuse  # type: ignore[method-assign]
        operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)
        await operator.look()
        status = operator.status()
        (told,) = (each for each in status["conditions"] if each["type"] == "ResultsSaved")
        assert (status["verdict"], told["status"], told["reason"]) == ("Passed", "False", "NameConflict")
        assert "belongs to somebody else" in told["message"]
        assert "report" not in status
        assert not operator.masters.views["uid-checkout"].stored

        operator.cluster.save_report = save_report  # type: ignore[method-assign]
        operator.clock.advance(int(REPORT_RETRY_SECONDS * SECOND))
        await operator.look()
        assert (operator.status()["report"], operator.cluster.reports) == ("checkout-report", [(1, b"report")])

    run(story())

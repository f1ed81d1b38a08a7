"""Somebody refuses that pods are deleted, as a policy does or a webhook that is down: nothing else waits for that."""

import asyncio
import logging
from typing import Any

import pytest
from tests.unit.operator.shell import SECOND, Operator, run, running

from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator import naming
from loadstone_operator.actions import DeletePods
from loadstone_operator.cluster.errors import ApiError, Forbidden, Unreachable
from loadstone_operator.observation import MasterView, Outcome, Stage
from loadstone_operator.ports import Key
from loadstone_operator.wishes import Steer

DENIED = Forbidden(403, 'admission webhook "protect.example" denied the request')
DOWN = Unreachable(500, "failed calling webhook")

PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)
OVER = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)


def guard(operator: Operator, error: ApiError, *names: str) -> None:
    """Have the deletion of these pods refused."""
    delete = operator.cluster.delete_pod

    async def delete_or_refuse(namespace: str, name: str, uid: str, **options: Any) -> None:
        if name in names:
            raise error
        await delete(namespace, name, uid, **options)

    operator.cluster.delete_pod = delete_or_refuse  # type: ignore[method-assign]


@pytest.mark.parametrize("error", [DENIED, DOWN])
def test_an_orphan_that_cannot_be_deleted_keeps_nobody_else_waiting_and_is_tried_again(
    error: ApiError, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        del operator.cluster.tests[Key("shop", "checkout")]
        operator.cluster.put("another")
        free = operator.cluster.delete_pod
        guard(operator, error, "checkout-m-1-1")
        with caplog.at_level(logging.WARNING):
            await operator.controller.resync()
        await operator.look("another")

        assert operator.controller.is_primed
        assert operator.status("another")["phase"] == "Provisioning"
        assert [name for name in operator.cluster.pods if name.startswith("checkout")] == ["checkout-m-1-1"]
        told = {(record.message, record.__dict__["pod"]) for record in caplog.records}
        assert ("Could not delete orphan", "checkout-m-1-1") in told
        assert ("Deleted orphan", "checkout-m-1-1") not in told
        assert ("Deleted orphan", "checkout-w-1-0-1") in told

        operator.cluster.delete_pod = free  # type: ignore[method-assign]
        await operator.controller.resync()
        assert [name for name in operator.cluster.pods if name.startswith("checkout")] == []

    run(story())


def test_the_operator_works_before_the_last_orphan_is_deleted() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        del operator.cluster.tests[Key("shop", "checkout")]
        worked: list[bool] = []

        async def note(*_: Any, **__: Any) -> None:
            worked.append(operator.controller.is_primed)

        operator.cluster.delete_pod = note  # type: ignore[method-assign]
        await operator.controller.resync()

        assert worked == [True, True, True]

    run(story())


def test_the_status_of_a_run_goes_on_while_pods_of_the_run_before_cannot_be_deleted() -> None:
    async def story() -> None:
        operator, key = Operator(), Key("shop", "checkout")
        await running(operator)
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        free, before = operator.cluster.delete_pod, tuple(operator.cluster.pods)
        guard(operator, DOWN, *before)
        await operator.hear(operator.cluster.put("checkout", generation=2, trigger="again"))
        await operator.look()
        with pytest.raises(ApiError):
            await operator.look()
        for name in set(operator.cluster.pods) - set(before):
            operator.pod(name, phase="Running", podIP="10.0.0.2")
        going = MasterView(connected=True, stage=Stage.RUNNING, progress={"percent": 50})
        operator.masters.views["uid-checkout"] = going
        operator.clock.advance(2 * SECOND)
        with pytest.raises(ApiError):
            await operator.look()

        assert (operator.status()["run"]["number"], operator.status()["phase"]) == (2, "Running")
        assert operator.status()["progress"] == {"percent": 50}
        mark = operator.cluster.tests[key]["metadata"]["annotations"][naming.ANNOTATION_LAST_RUN]
        assert mark.endswith(naming.trigger_mark("again"))

        operator.cluster.delete_pod = free  # type: ignore[method-assign]
        await operator.look()
        assert not set(before) & set(operator.cluster.pods)

    run(story())


def test_what_could_not_be_tidied_up_is_tried_again_without_news() -> None:
    async def story() -> None:
        operator, key = Operator(), Key("shop", "checkout")
        await running(operator)
        operator.cluster.put("checkout", stopRun=1)
        operator.masters.views.clear()
        await operator.controller.resync()
        operator.clock.advance(600 * SECOND)
        names = tuple(operator.cluster.pods)
        free = operator.cluster.delete_pod
        guard(operator, DOWN, *names)
        await operator.controller._reconcile_safely(key)
        operator.clock.advance(600 * SECOND)
        await operator.controller._reconcile_safely(key)
        assert operator.status()["verdict"] == "Aborted"
        assert tuple(operator.cluster.pods) == names
        while len(operator.queue):
            operator.queue.done(await operator.queue.take())

        operator.cluster.delete_pod = free  # type: ignore[method-assign]
        assert await asyncio.wait_for(operator.queue.take(), 5) == key
        await operator.look()
        assert operator.cluster.pods == {}

    run(story())


@pytest.mark.promise("kill-switch")
def test_a_master_hears_of_a_kill_though_the_pods_that_it_does_not_reach_cannot_be_deleted() -> None:
    async def story() -> None:
        operator, key = Operator(), Key("shop", "checkout")
        await running(operator)
        guard(operator, DOWN, "checkout-w-1-0-1")
        look = operator.looker.look(key, operator.cluster.tests[key])
        kill = Steer(1, Reason.KILLED, ())
        pods = tuple((name, f"pod-{name}") for name in ("checkout-w-1-0-1", "checkout-w-1-1-1"))

        assert await operator.actor.act(look, [DeletePods(pods, grace_seconds=1), kill])
        assert operator.masters.wishes["uid-checkout"] == kill
        assert set(operator.cluster.pods) == {"checkout-m-1-1", "checkout-w-1-0-1"}

    run(story())

"""Somebody refuses that pods are deleted, as a policy does or a webhook that is down: nothing else waits for that."""

import logging
from typing import Any

import pytest
from tests.unit.operator.shell import Operator, run, running

from loadstone_operator.cluster.errors import ApiError, Forbidden, Unreachable
from loadstone_operator.ports import Key

DENIED = Forbidden(403, 'admission webhook "protect.example" denied the request')
DOWN = Unreachable(500, "failed calling webhook")


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

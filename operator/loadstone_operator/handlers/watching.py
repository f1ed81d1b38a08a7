"""Pass on what the API server's watches say, one call each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import kopf

from loadstone_operator import naming

if TYPE_CHECKING:
    from loadstone_operator.ports import Body


class Intake(Protocol):
    """Who wants to know."""

    def heard_test(self, kind: str | None, body: Body) -> None:
        """Take in an event of a LoadTest."""
        ...

    def heard_class(self, kind: str | None, body: Body) -> None:
        """Take in an event of a LoadTestClass."""
        ...

    def heard_pod(self, kind: str | None, body: Body) -> None:
        """Take in an event of a managed pod."""
        ...


def register(registry: kopf.OperatorRegistry, intake: Intake, *, with_classes: bool) -> None:
    """Have the watches heard; that of classes where there are some to be read."""

    @kopf.on.event(naming.GROUP, naming.VERSION, naming.PLURAL, registry=registry, id="loadtests")
    async def on_loadtest(event: Any, **_: Any) -> None:
        intake.heard_test(event["type"], event["object"])

    @kopf.on.event("", "v1", "pods", registry=registry, id="pods")
    async def on_pod(event: Any, **_: Any) -> None:
        intake.heard_pod(event["type"], event["object"])

    if with_classes:

        @kopf.on.event(naming.GROUP, naming.VERSION, naming.CLASS_PLURAL, registry=registry, id="classes")
        async def on_class(event: Any, **_: Any) -> None:
            intake.heard_class(event["type"], event["object"])

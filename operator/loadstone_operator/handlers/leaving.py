"""Have kopf say that it hears no more.

It then waits five seconds for every task that it finds; whatever the operator started must be gone by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import kopf

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def register(registry: kopf.OperatorRegistry, leave: Callable[[], Awaitable[None]]) -> None:
    """Have the rest of the operator end as soon as a signal has ended the watches."""

    @kopf.on.cleanup(registry=registry, id="leave")
    async def on_cleanup(**_: Any) -> None:
        await leave()

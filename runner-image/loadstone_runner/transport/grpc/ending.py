"""End tasks that may be inside gRPC. What they do is not known here."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.1


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended; what it raised by itself comes out here.

    gRPC swallows a cancellation that comes while a call is being made or a message is being prepared, so one may not be
    enough. Waiting by `wait` lets a cancellation of the caller through: awaiting the task and suppressing its
    CancelledError would swallow that one too, and the caller would go on with a channel that is closed.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=AGAIN_SECONDS)
    if not task.cancelled():
        task.result()

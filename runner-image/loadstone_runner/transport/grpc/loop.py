"""An event loop that keeps up with gRPC.

gRPC's own thread writes a byte into a socket for each of its events, and what it has the loop call takes all events,
and a single byte. While the loop does less than a turn an event, some 280 bytes are left in that socket, it is full,
and gRPC's thread waits for a byte with each event: from then on every connection waits for as many turns as there are
events before it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, Unpack

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # its stubs leave it out

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

BYTES_MAX: Final = 4_096  # more than the socket holds


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, on such a loop."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop; readers of other sockets than gRPC's are called as ever."""

    def add_reader(self, fd: FileDescriptorLike, callback: Callable[[Unpack[Ts]], Any], *args: *Ts) -> None:
        """Call back when there is something to read; gRPC with one byte left, however many events came."""
        if isinstance(fd, socket.socket) and _is_grpcs(callback):
            super().add_reader(fd, _read_once, fd, functools.partial(callback, *args))
        else:
            super().add_reader(fd, callback, *args)


class OneATurn:
    """A lock that is free again in the next turn of the loop, so that whatever else is ready comes between.

    A plain lock that nobody holds across an `await` is free at once, and all who are ready take it in the same turn.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().call_soon(self._lock.release)


def _is_grpcs(callback: Callable[..., Any]) -> bool:
    called = callback.func if isinstance(callback, functools.partial) else callback
    return isinstance(getattr(called, "__self__", None), cygrpc.PollerCompletionQueue)


def _read_once(events: socket.socket, callback: Callable[[], Any]) -> None:
    """Take all bytes but one. An event is in gRPC's queue before its byte is here, so none of them is left behind."""
    waiting = len(events.recv(BYTES_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    if waiting > 1:
        events.recv(waiting - 1)
    callback()

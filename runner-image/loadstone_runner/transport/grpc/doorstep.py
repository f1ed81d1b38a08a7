"""Count connections that came to a master's port and never called as anybody of an authority that it trusts.

Handshakes are gRPC's own, and it tells of none that failed. It tells when a connection comes, though, and calls tell on
which connection they are. What has come and was not met after a while is a stranger: without a certificate, with one of
another authority, or with nothing to say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

STRANGE_SECONDS: Final = 20.0
KNOWN_MOST: Final = 8_192


class Doorstep:
    """Who has come, who was met, and so who is strange. Connections have no names before they call, so it counts."""

    __slots__ = ("_came", "_known", "_loop", "_met", "_on_stranger", "_told")

    def __init__(self, on_stranger: Callable[[], None]) -> None:
        """Tell of each stranger on the running loop, once it has had its time to be met."""
        self._loop = asyncio.get_running_loop()
        self._on_stranger = on_stranger
        self._came = self._met = self._told = 0
        # A port that a peer's kernel gives out a second time is old by then, and forgotten.
        self._known: OrderedDict[str, None] = OrderedDict()

    def come(self) -> None:
        """Note that a connection has come; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._await)

    def meet(self, address: str) -> None:
        """Note that the peer at an address, `ipv4:HOST:PORT`, has called, with a certificate of the authority."""
        if address in self._known:
            self._known.move_to_end(address)
            return
        self._known[address] = None
        if len(self._known) > KNOWN_MOST:
            self._known.popitem(last=False)
        self._met += 1

    def _await(self) -> None:
        self._came += 1
        self._loop.call_later(STRANGE_SECONDS, self._settle, self._came)

    def _settle(self, came: int) -> None:
        while self._told < came - self._met:
            self._told += 1
            self._on_stranger()

"""Keep the newest state of every series of a stream, so that all of it can be told again to whoever asks. Pure.

States stay bytes: what is in a series is the engine's and the master's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadstone_runner.agent.history import History, Moment

if TYPE_CHECKING:
    from collections.abc import Mapping


class Piece(NamedTuple):
    """One state of a stream, taken apart.

    Attributes:
        sequence: from 1, ever greater.
        head: the encoded state without its series.
        series: each series' encoded state by its encoded key.
        second: that it closes.
        users: alive at its end, of each scenario.
    """

    sequence: int
    head: bytes
    series: Mapping[bytes, bytes]
    second: int = -1
    users: tuple[int, ...] = ()


class Ledger:
    """The newest head and the newest state of each series of one stream.

    Attributes:
        history: of its users.
    """

    __slots__ = ("_head", "_sequence", "_series", "history")

    def __init__(self) -> None:
        self.history = History()
        self._sequence = 0
        self._head = b""
        self._series: dict[bytes, bytes] = {}

    @property
    def sequence(self) -> int:
        """The newest sequence that is held, 0 before the first."""
        return self._sequence

    def put(self, piece: Piece) -> bool:
        """Take a newer state; return False for one that is not newer, which is known already."""
        if piece.sequence <= self._sequence:
            return False
        self._sequence = piece.sequence
        self._head = piece.head
        self._series.update(piece.series)
        self.history.note(Moment(piece.second, piece.sequence, piece.users))
        return True

    def whole(self) -> bytes:
        """Return the whole state: parts of one encoded message, put one after the other, are the message."""
        return self._head + b"".join(self._series.values())

"""An answer that is read bit by bit: what `HttpClient.stream` returns. Receiving it belongs to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_READ_MAX_BYTES: Final = 64 * 1024 * 1024
_LINE_MAX_BYTES: Final = 1024 * 1024


class StreamReply(Reply):
    """A reply whose body comes while the script reads it; use it in a `with` block.

    The sample is recorded when the block ends, with the time until then or until the last byte, whichever was first.
    What the script does not read is not received: its connection is closed. `failure()` and `success()` work as with
    `catch_response=True`. `body` stays empty.
    """

    __slots__ = ("_next_piece",)

    def __init__(
        self, status: int, head: bytes, *, error: str | None, url: str, name: str, next_piece: Callable[[], bytes]
    ) -> None:
        super().__init__(status, head, body=b"", error=error, url=url, name=name, elapsed=0.0)
        self._next_piece = next_piece

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the body as it comes in, without its framing, in pieces of any size.

        A failure inside the body ends the iteration, and `error` names it.
        """
        while piece := self._next_piece():
            yield piece

    def iter_lines(self) -> Iterator[str]:
        """Yield the body's lines as text, UTF-8, without their ends; a line longer than 1 MiB comes in parts."""
        held = b""
        for piece in self.iter_bytes():
            held += piece
            *lines, held = held.split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r").decode("utf-8", "replace")
            if len(held) > _LINE_MAX_BYTES:
                yield held.decode("utf-8", "replace")
                held = b""
        if held:
            yield held.decode("utf-8", "replace")

    def read(self) -> bytes:
        """Return the rest of the body, at most its first 64 MiB."""
        parts: list[bytes] = []
        held = 0
        for piece in self.iter_bytes():
            parts.append(piece)
            held += len(piece)
            if held >= _READ_MAX_BYTES:
                break
        return b"".join(parts)[:_READ_MAX_BYTES]

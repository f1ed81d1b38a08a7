"""Frames on a byte stream: a big-endian length of 4 bytes, then that many bytes. What is in them is not known here."""

from __future__ import annotations

import struct
from typing import Final

from loadstone_core.errors import InternalError

FRAME_MAX_BYTES: Final = 40 * 1024 * 1024  # what an engine reports goes on to the master as a message of its own

_LENGTH: Final = struct.Struct(">I")


class FrameError(InternalError):
    """The peer does not send frames; its connection is of no use any more."""


def encode(payload: bytes) -> bytes:
    """Return the payload as a frame.

    Raises:
        FrameError: the payload is longer than FRAME_MAX_BYTES.
    """
    if len(payload) > FRAME_MAX_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes is longer than {FRAME_MAX_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


class Decoder:
    """The receiving end of one stream: takes bytes as they come and gives whole payloads in order."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_between_frames(self) -> bool:
        """Whether the stream could end here without a frame being cut off."""
        return not self._held

    def feed(self, received: bytes) -> list[bytes]:
        """Return the payloads that are complete now.

        Raises:
            FrameError: a length is above FRAME_MAX_BYTES; nothing behind it can be read.
        """
        held = self._held
        held += received
        payloads: list[bytes] = []
        at = 0
        while len(held) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(held, at)
            if length > FRAME_MAX_BYTES:
                raise FrameError(f"a frame of {length} bytes was announced; at most {FRAME_MAX_BYTES} are allowed")
            end = at + _LENGTH.size + length
            if len(held) < end:
                break
            payloads.append(bytes(held[at + _LENGTH.size : end]))
            at = end
        del held[:at]
        return payloads

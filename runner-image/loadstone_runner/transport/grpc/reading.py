"""Let bytes of an agent that are no message reach whoever counts them; gRPC would end the call unheard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from collections.abc import Callable

M = TypeVar("M", bound=Message)


def read(kind: type[M]) -> Callable[[bytes], M]:
    """Return a reader of messages of a kind; of what is none it makes an empty one, which cannot be meant."""

    def reader(content: bytes) -> M:
        try:
            return kind.FromString(content)
        except DecodeError:
            return kind()

    return reader

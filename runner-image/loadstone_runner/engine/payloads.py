"""Turn what scripts send and return into bytes and back: JSON values, or bytes as they are."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

DATA_MAX_BYTES: Final = 256 * 1024
_SHOWN_MAX: Final = 200


class Payload(NamedTuple):
    """Data as it travels; empty JSON is None."""

    data: bytes
    is_bytes: bool


NOTHING: Final = Payload(b"", is_bytes=False)


def encode(value: Any) -> Payload:
    """Return a script's data as it travels.

    Raises:
        ValueError: it is neither bytes nor JSON values, or more than 256 KiB of it.
    """
    if value is None:
        return NOTHING
    is_bytes = isinstance(value, bytes | bytearray | memoryview)
    try:
        data = bytes(value) if is_bytes else json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"only JSON values or bytes travel: {str(error)[:_SHOWN_MAX]}") from error
    if len(data) > DATA_MAX_BYTES:
        raise ValueError(f"{len(data)} bytes are too many for a message; at most {DATA_MAX_BYTES} travel")
    return Payload(data, is_bytes)


def decode(payload: Payload) -> Any:
    """Return what was encoded; raise ValueError if it is no JSON."""
    if payload.is_bytes:
        return payload.data
    return json.loads(payload.data) if payload.data else None

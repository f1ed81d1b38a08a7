"""Turn what scripts send and return into bytes and back: JSON values, or bytes as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

DATA_MAX_BYTES: Final = 256 * 1024
# Python reads some 990 levels where nothing else is on its stack.
DEPTH_MAX: Final = 500
_OPENING: Final = (b"[", b"{")
_SHOWN_MAX: Final = 200


class Payload(NamedTuple):
    """Data as it travels; empty JSON is None."""

    data: bytes
    is_bytes: bool


NOTHING: Final = Payload(b"", is_bytes=False)


def encode(value: Any) -> Payload:
    """Return a script's data as it travels.

    Raises:
        ValueError: it is neither bytes nor JSON values, or more than 256 KiB of it, or nested too deep.
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
    if not is_bytes and _is_too_deep(value, data):
        raise ValueError(f"lists and dicts nested more than {DEPTH_MAX} deep are too deep for a message")
    return Payload(data, is_bytes)


def decode(payload: Payload) -> Any:
    """Return what was encoded; raise ValueError if it is no JSON, or too deep to be read."""
    if payload.is_bytes:
        return payload.data
    try:
        return json.loads(payload.data) if payload.data else None
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _is_too_deep(value: Any, encoded: bytes) -> bool:
    if sum(map(encoded.count, _OPENING)) <= DEPTH_MAX:
        return False
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
    return any(isinstance(each, dict | list | tuple) for each in level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()

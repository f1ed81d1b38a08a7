"""Pack what a master leaves to one in another pod: workers hold it with their configuration, and do not read it. Pure.

What belongs in there is known to `takeover`.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from loadstone_protocol.codec import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY_MAX: Final = 64 * 1024 * 1024  # unpacked: hundreds of changes of 32 scenarios of 256 stages, and of losses


def to_memory(held: Mapping[str, Any], *, is_shaped: bool) -> bytes:
    """Return what was decided as it travels with the configuration, without what is in there anyway."""
    light = {name: value for name, value in held.items() if name != "setup"}
    if is_shaped:
        # Without its director such a run ends, and each second has a load of its own.
        light["plans"] = [{**plan, "past": []} for plan in light.get("plans", ())]
    return zlib.compress(json.dumps(light, separators=(",", ":")).encode(), 1)


def from_memory(memory: bytes) -> dict[str, Any]:
    """Return what `to_memory` was given, but for setup.

    Raises:
        WireError: it is not of this version.
    """
    unpacking = zlib.decompressobj()
    try:
        return dict(json.loads(unpacking.decompress(memory, MEMORY_MAX)))
    except (zlib.error, TypeError, ValueError) as error:
        raise WireError("what the master before has left cannot be read") from error

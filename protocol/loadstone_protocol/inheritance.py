"""Read what an agent holds of a master that was lost. What the next one makes of it is not known here."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from google.protobuf.message import DecodeError

from loadstone_core.register import Version
from loadstone_core.spec.defaults import ENGINES_MOST
from loadstone_protocol.allotment import NUMBER_MAX, ranges_from_messages, shares_from_messages
from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import Granted, Inheritance
from loadstone_protocol.v1 import coordination_pb2

NAME_MAX: Final = 256
GRANTED_MAX: Final = 128 * ENGINES_MOST
SINCE_MAX_NS: Final = 2**61  # either way; a moment that lies so far from now can still be told to everybody


def inheritance_from_message(message: coordination_pb2.Inheritance) -> Inheritance:
    """Return what an agent holds of the master before; raise WireError if it cannot be meant."""
    if len(message.granted) > GRANTED_MAX or any(
        not 0 < len(each.name) <= NAME_MAX or each.engine >= ENGINES_MOST for each in message.granted
    ):
        raise WireError("what was granted to an engine cannot be meant")
    if abs(message.since_start_ns) > SINCE_MAX_NS:
        raise WireError("an inherited load began at no moment that a clock can show")
    granted = tuple(map(_granted_from_message, message.granted))
    shares = shares_from_messages(message.shares)
    config = message.config
    if not config.version.revision:
        return Inheritance(None, message.since_start_ns, granted, shares=shares)
    if sha256(config.body).digest() != config.sha256:
        raise WireError("an inherited configuration is not what its digest says")
    try:
        body = coordination_pb2.CommonBody.FromString(config.body)
    except DecodeError as error:
        raise WireError("an inherited configuration cannot be read") from error
    version = Version(config.version.epoch, config.version.revision)
    return Inheritance(version, message.since_start_ns, granted, body.setup_json, body.memory, shares)


def _granted_from_message(message: coordination_pb2.Granted) -> Granted:
    if max(message.ranges, message.numbers, message.end) > NUMBER_MAX:
        raise WireError(f"an engine was granted at most {NUMBER_MAX} numbers of a name")
    latest = ranges_from_messages(message.latest)
    if len(latest) > message.ranges or sum(map(len, latest)) > message.numbers:
        raise WireError("more was granted to an engine of late than in all")
    return Granted(message.name, message.engine, message.ranges, message.numbers, message.end, latest)

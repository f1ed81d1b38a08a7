"""Turn what a worker's engines are to do of the load into messages and back: shares of it, and granted numbers.

Numbers are granted from where the last grant has ended, to whatever worker: what is too large to be meant is refused
here, as it would be in everybody's messages from then on.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from loadstone_core.load.grant import Grant
from loadstone_core.load.lots import Lot, Share
from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import GrantNews
from loadstone_protocol.v1 import engine_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

GRANT_NAME_MAX: Final = 256
NUMBER_MAX: Final = 2**53
PER_SECOND_MAX: Final = 1_000_000_000


def shares_to_messages(shares: Iterable[Share]) -> list[engine_pb2.Share]:
    """Return the messages of what engines do of a load."""
    return [
        engine_pb2.Share(engine=each.engine, index=each.lot.first, parts=each.lot.parts, from_ns=each.from_ns)
        for each in shares
    ]


def shares_from_messages(messages: Iterable[engine_pb2.Share]) -> tuple[Share, ...]:
    """Return what engines do of a load; raise WireError for a lot that is none, or a time before the load."""
    shares = tuple(Share(each.engine, Lot(each.index, each.parts), each.from_ns) for each in messages)
    if not all(each.lot.first < each.lot.parts and each.from_ns >= 0 for each in shares):
        raise WireError("a share is one of its parts, counted from 0, from a moment of the load on")
    return shares


def grants_to_messages(grants: Iterable[Grant]) -> list[engine_pb2.Grant]:
    """Return the messages of what engines are granted."""
    return [
        engine_pb2.Grant(
            name=grant.name,
            engine=grant.engine,
            first_range=grant.first_range,
            ranges=ranges_to_messages(grant.ranges),
            before=grant.before,
            end=grant.end,
        )
        for grant in grants
    ]


def grants_from_messages(messages: Iterable[engine_pb2.Grant]) -> tuple[Grant, ...]:
    """Return what engines are granted; raise WireError for ranges that are empty or have a number in common."""
    return tuple(
        Grant(each.name, each.engine, ranges_from_messages(each.ranges), each.first_range, each.before, each.end)
        for each in messages
    )


def grant_news(state: engine_pb2.GrantState) -> GrantNews:
    """Return what became of granted numbers; raise WireError if that cannot be meant."""
    if not 0 < len(state.name) <= GRANT_NAME_MAX:
        raise WireError(f"the name of a grant has 1 to {GRANT_NAME_MAX} characters")
    if max(state.known, state.left, state.rows) > NUMBER_MAX or state.per_second > PER_SECOND_MAX:
        raise WireError(f"an engine has at most {NUMBER_MAX} numbers of a name, and takes {PER_SECOND_MAX} a second")
    return GrantNews(
        state.name,
        state.known,
        left=state.left,
        per_second=state.per_second,
        waiting=state.waiting,
        rows=state.rows,
    )


def ranges_to_messages(ranges: Iterable[range]) -> list[engine_pb2.IterationRange]:
    """Return the messages of granted ranges."""
    return [engine_pb2.IterationRange(start=each.start, count=len(each)) for each in ranges]


def ranges_from_messages(messages: Iterable[engine_pb2.IterationRange]) -> tuple[range, ...]:
    """Return granted ranges; raise WireError for ranges that are empty or have a number in common.

    They need not be in order: what was meant for a worker that never came is given to others behind what these have.
    """
    ranges = tuple(range(message.start, message.start + message.count) for message in messages)
    ordered = sorted(ranges, key=lambda each: each.start)
    if not all(ranges) or any(one.stop > other.start for one, other in pairwise(ordered)):
        raise WireError("granted ranges are not empty, and no number is in two of them")
    if ordered and ordered[-1].stop > NUMBER_MAX:
        raise WireError(f"granted numbers are at most {NUMBER_MAX}")
    return ranges

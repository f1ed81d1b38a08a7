"""Turn the history of a stream's users into messages and back. What is wrong with one is known to core."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.stream import UsersAt
from loadstone_protocol.v1 import statistics_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable


def history_to_messages(history: Iterable[UsersAt]) -> list[statistics_pb2.UsersAt]:
    """Return the messages of a history."""
    return [
        statistics_pb2.UsersAt(second=each.second, sequence=each.sequence, scenario_users=each.users)
        for each in history
    ]


def history_from_messages(messages: Iterable[statistics_pb2.UsersAt]) -> tuple[UsersAt, ...]:
    """Return a history; whether it can be one, `unsound` says."""
    return tuple(UsersAt(each.second, each.sequence, tuple(each.scenario_users)) for each in messages)

"""Say what a master does with what is said to it over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from loadstone_runner.transport.grpc.control import ControlPort

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from loadstone_core.stats.stream import SeriesState, StreamState
    from loadstone_protocol.codec import WireError
    from loadstone_protocol.messages import AgentWord, Hello, Peer, Refusal, Steering
    from loadstone_runner.transport.grpc.bulk import BulkEnd
    from loadstone_runner.transport.grpc.links import AgentLink, StatisticsLink


class MasterPort(ControlPort, Protocol):
    """Who decides; all that is not awaited is called on the event loop and must not block."""

    epoch: int

    def read_series(self, content: bytes, /) -> SeriesState:
        """Return the state of a series; raise WireError if these bytes are none."""
        ...

    def join(self, hello: Hello, link: AgentLink) -> Refusal | None:
        """Take an agent in (after `welcome` on its link), or return why not."""
        ...

    def hear(self, link: AgentLink, word: AgentWord) -> None:
        """Take in what an agent says."""
        ...

    def part(self, link: AgentLink) -> None:
        """Note that a control connection has ended, for whatever reason."""
        ...

    def may_report(self, peer: Peer) -> bool:
        """Say whether a peer is known from its control stream."""
        ...

    def report(self, link: StatisticsLink, state: StreamState) -> None:
        """Merge a state and acknowledge it on its link."""
        ...

    def part_statistics(self, link: StatisticsLink) -> None:
        """Note that a statistics connection has ended."""
        ...

    def join_bulk(self, peer: Peer) -> BulkEnd | None:
        """Return this side's channels of a peer that is known from its control stream; None if it is not."""
        ...

    def blame(self, peer: Peer, error: WireError) -> None:
        """Count a message that could not be meant."""
        ...

    def count_refused(self) -> None:
        """Count a call that did not say who is there, or that is not its caller's to make."""
        ...

    def count_stranger(self) -> None:
        """Count a connection on which nobody showed a certificate of the run's authority."""
        ...

    def followed(self) -> AbstractContextManager[None]:
        """Note that somebody follows the run, as long as the context lasts."""
        ...

    def steer(self, steering: Steering) -> int:
        """Take in what a follower wants; return the newest revision that is held."""
        ...

    def log_tail(self, *, lines: int, size: int) -> tuple[bytes, int]:
        """Return the last lines of the log as gzip text of at most `size` bytes, and how many they are."""
        ...

    def stored(self, sha256: bytes) -> bool:
        """Note that a follower holds the report with this digest; return whether it is the right one."""
        ...

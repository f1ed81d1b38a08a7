"""Keep one user's connections and send requests over them: over an idle one that still lives, else over a fresh one.

What is asked, what is recorded and what follows from an answer must not live here.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.connection import Answer
from loadstone_runner.engine.http.failures import ExchangeError, cut_off

if TYPE_CHECKING:
    from loadstone_runner.engine.http.connecting import Dialer
    from loadstone_runner.engine.http.connection import Exchange
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.requests import Written

# A peer that closes at once is noticed by the closing itself; looking costs a system call, so only after a pause.
LOOK_AFTER_IDLE_NS: Final = 1_000_000
IDLE_MAX: Final = 16


class Pool:
    """Idle connections by origin. As users do one thing after another there is rarely more than one of each.

    Attributes:
        idle: the connections, by origin; always the same object.
    """

    __slots__ = ("_connect", "_dialer", "idle")

    def __init__(self, dialer: Dialer, connect: type[Exchange]) -> None:
        """Make an empty pool; `connect` makes a connection of what the dialer has connected."""
        self.idle: dict[Origin, list[Exchange]] = {}
        self._connect = connect
        self._dialer = dialer

    def send(self, written: Written, *, deadline_ns: int, connect_timeout_ns: int, keeps_body: bool) -> Answer:
        """Send a request and return its answer, or what came of it. Never raises.

        Args:
            written: the request.
            deadline_ns: when all of it must have ended, on the monotonic clock.
            connect_timeout_ns: that name, TCP and TLS may take of that.
            keeps_body: whether the body of the answer is wanted.
        """
        begin = monotonic_ns()
        idle = self.idle.get(written.place.origin)
        while idle:
            connection = idle.pop()
            if begin - connection.idle_since_ns > LOOK_AFTER_IDLE_NS and connection.is_stale():
                connection.close()
                continue
            answer = connection.exchange(
                written.data, is_head=written.is_head, deadline_ns=deadline_ns, keeps_body=keeps_body
            )
            if connection.is_reusable:
                idle.append(connection)
                return answer
            connection.close()
            if not may_go_again(answer, deadline_ns):
                return answer
        connect_by = min(deadline_ns, begin + connect_timeout_ns)
        try:
            link = self._dialer.connect(written.place.origin, connect_by)
        except ExchangeError as error:
            return _unsent(begin, error, None)
        except BaseException as error:  # noqa: BLE001 the end of the run, or a timeout of the script: raised later
            return _unsent(begin, cut_off(error), error)
        connection = self._connect(*link.release())
        answer = connection.exchange(
            written.data, is_head=written.is_head, deadline_ns=deadline_ns, keeps_body=keeps_body
        )
        answer.opening = link.phases
        if connection.is_reusable:
            self.keep(written.place.origin, connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close all idle connections; the pool may go on to be used."""
        idle = [connection for connections in self.idle.values() for connection in connections]
        self.idle.clear()
        for connection in idle:
            connection.close()

    def keep(self, origin: Origin, connection: Exchange) -> None:
        """Keep a connection for the next request; of too many, those of the origin known longest are closed."""
        idle = self.idle.setdefault(origin, [])
        idle.append(connection)
        if len(self.idle) > IDLE_MAX:
            for left in self.idle.pop(next(iter(self.idle))):
                left.close()
        if len(idle) > IDLE_MAX:
            idle.pop(0).close()


def may_go_again(answer: Answer, deadline_ns: int) -> bool:
    """Return whether a request may go over another connection: nothing of it has left, so this is no retry."""
    return answer.failure is not None and not answer.sent and answer.raised is None and monotonic_ns() < deadline_ns


def _unsent(begin_ns: int, error: ExchangeError, raised: BaseException | None) -> Answer:
    answer = Answer(begin_ns)
    answer.end_ns = monotonic_ns()
    answer.failure = error
    answer.raised = raised
    return answer

"""Keep one user's connections and send requests over them: over an idle one that still lives, else over a fresh one.

What is asked, what is recorded and what follows from an answer must not live here.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.connecting import open_connection
from loadstone_runner.engine.http.connection import Answer
from loadstone_runner.engine.http.failures import ExchangeError, cut_off

if TYPE_CHECKING:
    from loadstone_runner.engine.http.connection import Connection
    from loadstone_runner.engine.http.origin import Origin
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.resolution import Resolver

# A peer that closes at once is noticed by the closing itself; looking costs a system call, so only after a pause.
LOOK_AFTER_IDLE_NS: Final = 1_000_000
IDLE_MAX: Final = 16


class Pool:
    """Idle connections by origin. As users do one thing after another there is rarely more than one of each."""

    __slots__ = ("_idle", "_resolver")

    def __init__(self, resolver: Resolver) -> None:
        self._idle: dict[Origin, list[Connection]] = {}
        self._resolver = resolver

    def send(self, written: Written, *, timeout_ns: int, connect_timeout_ns: int, verify: bool | str) -> Answer:
        """Send a request and return its answer, or what came of it. Never raises.

        Args:
            written: the request.
            timeout_ns: that all of it may take.
            connect_timeout_ns: that name, TCP and TLS may take of it.
            verify: how to check certificates.
        """
        begin = monotonic_ns()
        deadline = begin + timeout_ns
        idle = self._idle.get(written.place.origin)
        while idle:
            connection = idle.pop()
            if begin - connection.idle_since_ns > LOOK_AFTER_IDLE_NS and connection.is_stale():
                connection.close()
                continue
            answer = connection.exchange(written.data, is_head=written.is_head, deadline_ns=deadline)
            if connection.is_reusable:
                idle.append(connection)
                return answer
            connection.close()
            # Nothing has left over a dead connection, so a fresh one carries the same request: this is no retry.
            if answer.failure is None or answer.sent or answer.raised is not None or monotonic_ns() >= deadline:
                return answer
        connect_by = min(deadline, begin + connect_timeout_ns)
        try:
            connection, opening = open_connection(
                written.place.origin, self._resolver, verify=verify, deadline_ns=connect_by
            )
        except ExchangeError as error:
            return _unsent(begin, error, None)
        except BaseException as error:  # noqa: BLE001 the end of the run, or a timeout of the script: raised later
            return _unsent(begin, cut_off(error), error)
        answer = connection.exchange(written.data, is_head=written.is_head, deadline_ns=deadline)
        answer.opening = opening
        if connection.is_reusable:
            self._keep(written.place.origin, connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close all idle connections; the pool may go on to be used."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _keep(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for the next request; of too many, those of the origin known longest are closed."""
        idle = self._idle.setdefault(origin, [])
        idle.append(connection)
        if len(self._idle) > IDLE_MAX:
            for left in self._idle.pop(next(iter(self._idle))):
                left.close()
        if len(idle) > IDLE_MAX:
            idle.pop(0).close()


def _unsent(begin_ns: int, error: ExchangeError, raised: BaseException | None) -> Answer:
    answer = Answer(begin_ns)
    answer.end_ns = monotonic_ns()
    answer.failure = error
    answer.raised = raised
    return answer

"""Look up names for all users of an engine: each once, and again when the answer is old."""

from __future__ import annotations

import _socket
from time import monotonic_ns
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import AsyncResult

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

_KEPT_NS: Final = 5_000_000_000
_NAMES_MAX: Final = 10_000
_SECOND_NS: Final = 1_000_000_000


class Address(NamedTuple):
    """Where a socket connects to: the family and what connect takes."""

    family: int
    place: tuple[Any, ...]


class Resolver:
    """Answers from memory for five seconds; users who ask for the same name meanwhile share one look-up."""

    __slots__ = ("_held", "_turn", "_under_way")

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], tuple[int, tuple[Address, ...]]] = {}
        self._under_way: dict[tuple[str, int], AsyncResult[tuple[Address, ...]]] = {}
        self._turn = 0

    def addresses(self, host: str, port: int, deadline_ns: int) -> tuple[Address, ...]:
        """Return where to try to connect, in this order; each call begins with another one of the first family.

        Raises:
            ExchangeError: of kind DNS, when there is no address, or none in time.
        """
        held = self._held.get((host, port))
        if held is not None and monotonic_ns() - held[0] < _KEPT_NS:
            found = held[1]
        else:
            found = self._look_up(host, port, deadline_ns)
        first = [each for each in found if each.family == found[0].family]
        self._turn += 1
        turn = self._turn % len(first)
        return (*first[turn:], *first[:turn], *found[len(first) :])

    def _look_up(self, host: str, port: int, deadline_ns: int) -> tuple[Address, ...]:
        key = (host, port)
        result = self._under_way.get(key)
        if result is None:
            result = self._under_way[key] = AsyncResult()
            gevent.spawn(self._ask, key, result)
        result.wait(timeout=max(deadline_ns - monotonic_ns(), 0) / _SECOND_NS)
        if not result.ready():
            raise ExchangeError(FailureKind.DNS, f"no answer for {host} in time")
        found: tuple[Address, ...] = result.get_nowait()  # type: ignore[assignment]  # set or raises: it is ready
        return found

    def _ask(self, key: tuple[str, int], result: AsyncResult[tuple[Address, ...]]) -> None:
        host, port = key
        try:
            # Addresses are answered by the same call, at once.
            infos = gevent.get_hub().resolver.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            result.set_exception(ExchangeError(FailureKind.DNS, f"{host}: {reason}"))
        else:
            # The system sorts them (RFC 6724): the first family is the one to use.
            found = sorted((Address(info[0], info[4]) for info in infos), key=lambda each: each.family != infos[0][0])
            if len(self._held) >= _NAMES_MAX:
                self._held.clear()
            self._held[key] = (monotonic_ns(), tuple(found))
            result.set(tuple(found))
        finally:
            del self._under_way[key]

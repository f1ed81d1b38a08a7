"""A user's HTTP client: paths to requests, connections kept alive, redirects, and what counts as a failure.

Bytes on the wire belong to `connection`; the order in which things are counted belongs to `instruments`.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone.reply import Reply
from loadstone_core.stats.metrics import Phase
from loadstone_runner.engine.http.connecting import open_connection
from loadstone_runner.engine.http.connection import Answer
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.origin import Origin, Place, place_after_redirect, place_of
from loadstone_runner.engine.http.requests import with_query, write_body, write_head

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from loadstone_runner.engine.http.connection import Connection
    from loadstone_runner.engine.http.resolution import Resolver
    from loadstone_runner.engine.instruments import Instruments

TIMEOUT_SECONDS: Final = 60.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0
REDIRECTS_MAX: Final = 10
FIRST_FAILED_STATUS: Final = 400

_SECOND_NS: Final = 1_000_000_000
# A peer that closes at once is noticed by the closing itself; looking costs a system call, so only after a pause.
_LOOK_AFTER_IDLE_NS: Final = 1_000_000
_IDLE_MAX: Final = 16
_OPEN_MAX: Final = 100
_WRITTEN_MAX: Final = 1_024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_KEEPS_METHOD: Final = frozenset({307, 308})
_SEE_OTHER: Final = 303
_NOT_FOR_OTHERS: Final = frozenset({"authorization", "cookie", "host"})
_OF_BODY: Final = frozenset({"content-type", "content-length"})


class Written(NamedTuple):
    """A request that is ready to be sent again and again."""

    method: str
    place: Place
    name: str
    data: bytes
    is_head: bool


class Wish(NamedTuple):
    """What the script asked for beside the request itself."""

    timeout: float | None
    catch: bool
    redirects: int
    expected: Collection[int] | None


_PLAIN: Final = Wish(timeout=None, catch=False, redirects=REDIRECTS_MAX, expected=None)


class HttpClient:
    """The client of one user, or of setup and teardown; see `loadstone.HttpClient` for what scripts may rely on.

    Attributes:
        start_delay_ns: how late the running iteration was started; added to the latency of its first request.
        exchanges: requests so far, so that the engine knows whether an iteration has let others run.
    """

    __slots__ = (
        "_idle", "_instruments", "_open_replies", "_resolver", "_shared", "_target", "_written", "_written_with",
        "connect_timeout", "exchanges", "headers", "start_delay_ns", "timeout", "verify",
    )  # fmt: skip

    def __init__(
        self, target: str, instruments: Instruments, resolver: Resolver, *, shared: dict[tuple[str, str], Written]
    ) -> None:
        """Make a client whose paths are relative to `target`; clients of one target share what they have `written`."""
        self.timeout = TIMEOUT_SECONDS
        self.connect_timeout = CONNECT_TIMEOUT_SECONDS
        self.verify: bool | str = True
        self.headers: dict[str, str] = {}
        self.start_delay_ns = 0
        self.exchanges = 0
        self._target = target
        self._instruments = instruments
        self._resolver = resolver
        self._idle: dict[Origin, list[Connection]] = {}
        self._open_replies: list[Reply] = []
        self._shared = shared
        self._written = shared
        self._written_with: dict[str, str] = {}

    def get(self, path: str, **options: Any) -> Reply:
        """Send GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Reply:
        """Send POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Reply:
        """Send PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Reply:
        """Send PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Reply:
        """Send DELETE."""
        return self.request("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> Reply:
        """Send HEAD."""
        options.setdefault("allow_redirects", False)
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Any) -> Reply:
        """Send OPTIONS."""
        return self.request("OPTIONS", path, **options)

    def request(self, method: str, path: str, *, name: str | None = None, **options: Any) -> Reply:
        """Send a request and return its reply; options are those of `loadstone.http.RequestOptions`.

        Raises:
            ValueError: it cannot be written.
            TypeError: an option is not known.
        """
        if options:
            return self._request_with(method, path, name=name, **options)
        if self.headers != self._written_with:
            self._renew_written()
        written = self._written.get((method, path))
        if written is None:
            written = self._write(method, place_of(self._target, path), {}, b"")
            if len(self._written) >= _WRITTEN_MAX:
                self._written.clear()
            self._written[(method, path)] = written
        return self._ask(written, name, _PLAIN)

    def settle(self) -> None:
        """Record the replies that the script asked to decide on and did not; called at the end of an iteration."""
        replies, self._open_replies = self._open_replies, []
        for reply in replies:
            reply.settle()

    def close(self) -> None:
        """Close all connections; the client may go on to be used."""
        idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _request_with(  # noqa: PLR0913 the options of RequestOptions
        self,
        method: str,
        path: str,
        *,
        name: str | None,
        params: Any = None,
        headers: Mapping[str, str | None] | None = None,
        json: Any = None,
        data: Any = None,
        timeout: float | None = None,
        allow_redirects: bool = True,
        catch_response: bool = False,
        expect_status: int | Collection[int] | None = None,
    ) -> Reply:
        place = place_of(self._target, with_query(path, params) if params else path)
        body, own = write_body(method, json, data)
        written = self._write(method, place, {**own, **headers} if headers else own, body)
        expected = (expect_status,) if isinstance(expect_status, int) else expect_status
        redirects = REDIRECTS_MAX if allow_redirects else 0
        return self._ask(written, name, Wish(timeout, catch_response, redirects, expected))

    def _write(self, method: str, place: Place, headers: Mapping[str, str | None], body: bytes) -> Written:
        if not (headers or body):
            body, headers = write_body(method, None, None)
        head = write_head(method, place, {**self.headers, **headers})
        return Written(method, place, place.path, head + body, method == "HEAD")

    def _renew_written(self) -> None:
        """Forget what was written with other headers: clients without any of their own share their requests."""
        self._written_with = dict(self.headers)
        self._written = {} if self.headers else self._shared

    def _ask(self, written: Written, name: str | None, wish: Wish) -> Reply:
        """Send a request and follow redirects; each hop is recorded before the next one starts."""
        seconds = self.timeout if wish.timeout is None else wish.timeout
        left = wish.redirects
        while True:
            series = name or written.name
            answer = self._send(written, series, seconds)
            location = _location(answer) if wish.redirects and answer.status in _REDIRECTS else None
            if location is None:
                return self._conclude(answer, written, series, wish)
            if not left:
                answer.failure = ExchangeError(FailureKind.TOO_MANY_REDIRECTS, f"more than {REDIRECTS_MAX} in a row")
                return self._conclude(answer, written, series, wish)
            try:
                onward = self._onward(written, answer.status, location)
            except ValueError as error:
                answer.failure = ExchangeError(FailureKind.PROTOCOL, f"a redirect leads nowhere: {error}")
                return self._conclude(answer, written, series, wish)
            self._record(answer, written.method, series, error=None)
            left -= 1
            written = onward

    def _send(self, written: Written, series: str, seconds: float) -> Answer:
        """Count a request as started, send it and return the answer."""
        delay, self.start_delay_ns = self.start_delay_ns, 0
        self._instruments.begin_request()
        self.exchanges += 1
        answer = self._send_anywhere(written, series, seconds)
        answer.delay_ns = delay
        return answer

    def _send_anywhere(self, written: Written, series: str, seconds: float) -> Answer:
        """Return the answer to a request on a connection that is alive as far as can be seen."""
        begin = monotonic_ns()
        deadline = begin + int(seconds * _SECOND_NS)
        origin, data = written.place.origin, written.data
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if begin - connection.idle_since_ns > _LOOK_AFTER_IDLE_NS and connection.is_stale():
                connection.close()
                continue
            answer = connection.exchange(data, is_head=written.is_head, deadline_ns=deadline)
            if connection.is_reusable:
                idle.append(connection)
                return answer
            connection.close()
            # Nothing has left over the stale connection, so a fresh one carries the same request: this is no retry.
            if answer.failure is None or answer.sent or answer.raised is not None or monotonic_ns() >= deadline:
                return answer
        return self._send_on_fresh(written, series, begin_ns=begin, deadline_ns=deadline)

    def _send_on_fresh(self, written: Written, series: str, *, begin_ns: int, deadline_ns: int) -> Answer:
        origin = written.place.origin
        connect_by = min(deadline_ns, begin_ns + int(self.connect_timeout * _SECOND_NS))
        try:
            opened = open_connection(origin, self._resolver, verify=self.verify, deadline_ns=connect_by)
        except ExchangeError as error:
            return _unsent(begin_ns, error, None)
        except BaseException as error:  # noqa: BLE001 the end of the run: recorded, then raised
            return _unsent(begin_ns, ExchangeError(FailureKind.INTERRUPTED, "cut off while connecting"), error)
        phase = self._instruments.recorder.phase
        phase(Phase.DNS, opened.dns_ns, method=written.method, name=series)
        phase(Phase.CONNECT, opened.connect_ns, method=written.method, name=series)
        if origin.is_tls:
            phase(Phase.TLS, opened.tls_ns, method=written.method, name=series)
        connection = opened.connection
        answer = connection.exchange(written.data, is_head=written.is_head, deadline_ns=deadline_ns)
        if connection.is_reusable:
            self._keep(origin, connection)
        else:
            connection.close()
        return answer

    def _keep(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for the next request; of too many, those of the origin longest unused are closed."""
        idle = self._idle.setdefault(origin, [])
        idle.append(connection)
        if len(self._idle) > _IDLE_MAX:
            for left in self._idle.pop(next(iter(self._idle))):
                left.close()
        if len(idle) > _IDLE_MAX:
            idle.pop(0).close()

    def _onward(self, written: Written, status: int, location: str) -> Written:
        """Return the request that follows a redirect (RFC 9110 section 15.4); secrets do not go to another origin."""
        place = place_after_redirect(written.place, location)
        method, body = written.method, written.data.partition(b"\r\n\r\n")[2]
        dropped: frozenset[str] = frozenset({"host"})
        if status not in _KEEPS_METHOD and (status == _SEE_OTHER or method == "POST") and method != "HEAD":
            method, body = "GET", b""
            dropped |= _OF_BODY
        if place.origin is not written.place.origin:
            dropped |= _NOT_FOR_OTHERS
        head = written.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        fields = [line.partition(": ") for line in head]
        headers: dict[str, str | None] = {name: value for name, _, value in fields if name.lower() not in dropped}
        return Written(method, place, place.path, write_head(method, place, headers) + body, method == "HEAD")

    def _conclude(self, answer: Answer, written: Written, series: str, wish: Wish) -> Reply:
        """Return the reply, recorded unless the script wants to decide on it."""
        failure, status = answer.failure, answer.status
        error: str | None = None
        if failure is not None:
            error = failure.kind.value
        elif status >= FIRST_FAILED_STATUS if wish.expected is None else status not in wish.expected:
            error = f"status {status}"
        reply = Reply(
            status,
            answer.head,
            body=answer.body,
            error=error,
            url=written.place.url,
            name=series,
            elapsed=(answer.end_ns - answer.begin_ns) / _SECOND_NS,
        )
        if wish.catch and answer.raised is None:
            reply.leave_open(self._decider(answer, written.method))
            self._open_replies.append(reply)
            if len(self._open_replies) > _OPEN_MAX:
                self._open_replies[0].settle()
        else:
            self._record(answer, written.method, series, error=error)
        if answer.raised is not None:
            raise answer.raised
        return reply

    def _decider(self, answer: Answer, method: str) -> Callable[[Reply], None]:
        """Return what records an open reply as it stands when the script has decided."""

        def decide(reply: Reply) -> None:
            if reply in self._open_replies:
                self._open_replies.remove(reply)
            self._record(answer, method, reply.name, error=reply.error)

        return decide

    def _record(self, answer: Answer, method: str, name: str, *, error: str | None) -> None:
        service = answer.end_ns - answer.begin_ns
        failure = answer.failure
        is_broken = failure is not None and not answer.status
        if answer.first_byte_ns:
            first_byte = answer.first_byte_ns - answer.begin_ns
            self._instruments.recorder.phase(Phase.FIRST_BYTE, first_byte, method=method, name=name)
        self._instruments.end_request(
            method=method,
            name=name,
            latency_ns=service + answer.delay_ns,
            service_ns=service,
            error=error,
            message="" if failure is None else str(failure),
            unsent=is_broken and not answer.sent,
            ambiguous=is_broken and answer.sent > 0,
            interrupted=failure is not None and failure.kind is FailureKind.INTERRUPTED,
            sent=answer.sent,
            received=answer.received,
        )


def _unsent(begin: int, error: ExchangeError, raised: BaseException | None) -> Answer:
    answer = Answer(begin)
    answer.end_ns = monotonic_ns()
    answer.failure = error
    answer.raised = raised
    return answer


def _location(answer: Answer) -> str | None:
    for line in answer.head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"location":
            return value.strip().decode("latin-1")
    return None

"""A user's HTTP client: paths to requests, connections kept alive, redirects, and what counts as a failure.

Bytes on the wire belong to `connection`; the order in which things are counted belongs to `instruments`.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from loadstone.reply import Reply
from loadstone_core.stats.metrics import Phase
from loadstone_core.stats.recorder import SCENARIO
from loadstone_runner.engine.http.connection import NO_SLOTS, Connection
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.pool import Pool, may_go_again
from loadstone_runner.engine.http.redirects import after_redirect, location_of
from loadstone_runner.engine.http.requests import with_query, write, write_body

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from loadstone_runner.engine.http.connection import Answer, Exchange
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.resolution import Resolver
    from loadstone_runner.engine.instruments import Instruments

TIMEOUT_SECONDS: Final = 60.0
CONNECT_TIMEOUT_SECONDS: Final = 10.0
TIMEOUT_MAX_SECONDS: Final = 86_400
REDIRECTS_MAX: Final = 10
FIRST_FAILED_STATUS: Final = 400

_SECOND_NS: Final = 1_000_000_000
_OPEN_MAX: Final = 100
_WRITTEN_MAX: Final = 1_024
_NO_CONTEXT: Final[Mapping[str, Any]] = MappingProxyType({})


# What a client remembers, by flavour in slots or in fields of C: there may be tens of thousands of clients.
FIELDS: Final = (
    "_connect_timeout_ns", "_instruments", "_open_replies", "_pool", "_renamed", "_shared", "_target", "_timeout_ns",
    "_verify", "_written", "_written_with", "discard_bodies", "exchanges", "headers", "scenario", "start_delay_ns",
)  # fmt: skip


class Wish(NamedTuple):
    """What the script asked for beside the request itself."""

    timeout: float | None
    catch: bool
    redirects: int
    expected: Collection[int] | None
    discard: bool | None
    context: Mapping[str, Any]


PLAIN: Final = Wish(
    timeout=None, catch=False, redirects=REDIRECTS_MAX, expected=None, discard=None, context=_NO_CONTEXT
)


class Client:
    """What every flavour of a client does the same way; see `loadstone.HttpClient` for what scripts may rely on.

    Attributes:
        start_delay_ns: how late the running iteration was started; added to the latency of its first request.
        exchanges: requests that were answered, so that the engine knows whether an iteration has let others run.
        scenario: that the samples belong to.
    """

    __slots__ = NO_SLOTS

    _connect: ClassVar[type[Exchange]]
    _connect_timeout_ns: int
    _instruments: Instruments
    _open_replies: list[Reply]
    _pool: Pool
    _renamed: str | None
    _shared: dict[tuple[str, str], Written]
    _target: str
    _timeout_ns: int
    _verify: bool | str
    _written: dict[tuple[str, str], Written]
    _written_with: dict[str, str]
    discard_bodies: bool
    exchanges: int
    headers: dict[str, str]
    scenario: str
    start_delay_ns: int

    def __init__(
        self, target: str, instruments: Instruments, resolver: Resolver, *, shared: dict[tuple[str, str], Written]
    ) -> None:
        """Make a client whose paths are relative to `target`; clients of one target share what they have `written`."""
        self._timeout_ns = _nanoseconds(TIMEOUT_SECONDS)
        self._connect_timeout_ns = _nanoseconds(CONNECT_TIMEOUT_SECONDS)
        self._verify = True
        self.headers = {}
        self.discard_bodies = False
        self.scenario = SCENARIO
        self.start_delay_ns = 0
        self.exchanges = 0
        self._target = target
        self._instruments = instruments
        self._pool = Pool(resolver, self._connect)
        self._open_replies = []
        self._shared = shared
        self._written = shared
        self._written_with = {}
        self._renamed = None

    @property
    def timeout(self) -> float:
        """Seconds until a request must be answered in full."""
        return self._timeout_ns / _SECOND_NS

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout_ns = _nanoseconds(seconds)

    @property
    def connect_timeout(self) -> float:
        """Seconds that DNS, TCP and TLS may take of it."""
        return self._connect_timeout_ns / _SECOND_NS

    @connect_timeout.setter
    def connect_timeout(self, seconds: float) -> None:
        self._connect_timeout_ns = _nanoseconds(seconds)

    @property
    def verify(self) -> bool | str:
        """How certificates are checked: True, False, or the path of a file with trusted ones."""
        return self._verify

    @verify.setter
    def verify(self, verify: bool | str) -> None:
        if not isinstance(verify, bool | str):
            raise ValueError(f"verify must be True, False or the path of a file, not {verify!r}")  # noqa: TRY004 as documented
        self._verify = verify

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
        name = self._renamed if name is None else str(name)
        if options:
            return self._request_with(method, path, name=name, **options)
        if self.headers != self._written_with:
            self._renew_written()
        written = self._written.get((method, path))
        if written is None:
            body, own = write_body(method, None, None)
            written = self._prepared(write(method, place_of(self._target, path), {**self.headers, **own}, body))
            if len(self._written) >= _WRITTEN_MAX:
                self._written.clear()
            self._written[(method, path)] = written
        return self._ask(written, name, PLAIN)

    @contextmanager
    def rename(self, name: str) -> Iterator[None]:
        """Let all requests in the block that have no name of their own have this one."""
        before, self._renamed = self._renamed, str(name)
        try:
            yield
        finally:
            self._renamed = before

    def settle(self) -> None:
        """Record the replies that the script asked to decide on and did not; called at the end of an iteration."""
        if self._open_replies:
            replies, self._open_replies = self._open_replies, []
            for reply in replies:
                reply.settle()

    def close(self) -> None:
        """Close all connections; the client may go on to be used."""
        self._pool.close()

    def _request_with(  # noqa: PLR0913 the options of RequestOptions
        self,
        method: str,
        path: str,
        *,
        name: str | None,
        context: Mapping[str, Any] | None = None,
        params: Any = None,
        headers: Mapping[str, str | None] | None = None,
        json: Any = None,
        data: Any = None,
        timeout: float | None = None,
        allow_redirects: bool = True,
        catch_response: bool = False,
        expect_status: int | Collection[int] | None = None,
        discard_body: bool | None = None,
    ) -> Reply:
        place = place_of(self._target, with_query(path, params) if params else path)
        body, own = write_body(method, json, data)
        written = write(method, place, {**self.headers, **own, **(headers or {})}, body)
        expected = (expect_status,) if isinstance(expect_status, int) else expect_status
        redirects = REDIRECTS_MAX if allow_redirects else 0
        wish = Wish(timeout, catch_response, redirects, expected, discard_body, context or _NO_CONTEXT)
        return self._ask(written, name, wish)

    @staticmethod
    def _prepared(written: Written) -> Written:
        """Return a request in the form in which it is kept to be sent again."""
        return written

    def _renew_written(self) -> None:
        """Forget what was written with other headers: clients without any of their own share their requests."""
        self._written_with = dict(self.headers)
        self._written = {} if self.headers else self._shared

    def _ask(self, written: Written, name: str | None, wish: Wish, answered: Answer | None = None) -> Reply:
        """Send a request and follow redirects; each hop is recorded before the next one starts.

        The answer to the first request may be there already.
        """
        timeout_ns = self._timeout_ns if wish.timeout is None else _nanoseconds(wish.timeout)
        left = wish.redirects
        while True:
            series = name or written.name
            answer, answered = answered or self._send(written, timeout_ns, discard=wish.discard), None
            location = location_of(answer.status, answer.head) if wish.redirects else None
            if location is None:
                return self._conclude(answer, written, series, wish)
            if not left:
                answer.failure = ExchangeError(FailureKind.TOO_MANY_REDIRECTS, f"more than {REDIRECTS_MAX} in a row")
                return self._conclude(answer, written, series, wish)
            try:
                onward = after_redirect(written, answer.status, location)
            except ValueError as error:
                answer.failure = ExchangeError(FailureKind.PROTOCOL, f"a redirect leads nowhere: {error}")
                return self._conclude(answer, written, series, wish)
            self._record(answer, written, series, error=None)
            left -= 1
            written = onward

    def _take_over(
        self, answer: Answer, connection: Exchange, written: Written, *, name: str | None, deadline_ns: int
    ) -> Reply:
        """Go on with a request that was begun elsewhere and has come to something unusual; return its reply."""
        if connection.is_reusable:
            self._pool.keep(written.place.origin, connection)
        else:
            connection.close()
        if not connection.is_reusable and may_go_again(answer, deadline_ns):
            answer = self._send_begun(written, deadline_ns, discard=None)
        else:
            answer.delay_ns, self.start_delay_ns = self.start_delay_ns, 0
            self.exchanges += answer.received > 0
        return self._ask(written, name, PLAIN, answer)

    def _send(self, written: Written, timeout_ns: int, *, discard: bool | None) -> Answer:
        """Count a request as started, send it and return the answer."""
        self._instruments.begin_request()
        return self._send_begun(written, monotonic_ns() + timeout_ns, discard=discard)

    def _send_begun(self, written: Written, deadline_ns: int, *, discard: bool | None) -> Answer:
        """Send a request that is counted as started, and return the answer."""
        delay, self.start_delay_ns = self.start_delay_ns, 0
        answer = self._pool.send(
            written,
            deadline_ns=deadline_ns,
            connect_timeout_ns=self._connect_timeout_ns,
            verify=self._verify,
            keeps_body=not (self.discard_bodies if discard is None else discard),
        )
        answer.delay_ns = delay
        if answer.received:
            self.exchanges += 1
        return answer

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
            reply.leave_open(self._decider(answer, written, wish.context))
            self._open_replies.append(reply)
            if len(self._open_replies) > _OPEN_MAX:
                self._open_replies[0].settle()
        else:
            self._record(answer, written, series, error=error, context=wish.context)
        if answer.raised is not None:
            raise answer.raised
        return reply

    def _decider(self, answer: Answer, written: Written, context: Mapping[str, Any]) -> Callable[[Reply], None]:
        """Return what records an open reply as it stands when the script has decided."""

        def decide(reply: Reply) -> None:
            if reply in self._open_replies:
                self._open_replies.remove(reply)
            self._record(answer, written, reply.name, error=reply.error, context=context)

        return decide

    def _record(
        self,
        answer: Answer,
        written: Written,
        name: str,
        *,
        error: str | None,
        context: Mapping[str, Any] = _NO_CONTEXT,
    ) -> None:
        method = written.method
        service = answer.end_ns - answer.begin_ns
        failure = answer.failure
        is_broken = failure is not None and not answer.status
        phases = [(Phase.FIRST_BYTE, answer.first_byte_ns - answer.begin_ns)] if answer.first_byte_ns else []
        if answer.opening is not None:
            phases += [(Phase.DNS, answer.opening.dns_ns), (Phase.CONNECT, answer.opening.connect_ns)]
            if answer.opening.tls_ns:
                phases.append((Phase.TLS, answer.opening.tls_ns))
        for phase, took_ns in phases:
            self._instruments.recorder.phase(phase, took_ns, method=method, name=name, scenario=self.scenario)
        self._instruments.end_request(
            method=method,
            name=name,
            scenario=self.scenario,
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
        if self._instruments.on_request is not None:
            url, latency = written.place.url, service + answer.delay_ns
            self._instruments.on_request(method, name, latency, answer.received, error, answer.status, url, context)


class HttpClient(Client):
    """The client of one user, or of setup and teardown."""

    __slots__ = FIELDS

    _connect = Connection


def _nanoseconds(seconds: float) -> int:
    if not 0 < seconds <= TIMEOUT_MAX_SECONDS:
        raise ValueError(f"a timeout must be seconds above 0 and at most {TIMEOUT_MAX_SECONDS}, not {seconds}")
    return int(seconds * _SECOND_NS)

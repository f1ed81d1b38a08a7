"""A user's HTTP client: paths to requests, connections kept alive, redirects, and what counts as a failure.

Bytes on the wire belong to `connection`; the order in which things are counted belongs to `instruments`.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from loadstone.reply import Reply
from loadstone_core.stats.metrics import Phase
from loadstone_core.stats.recorder import SCENARIO
from loadstone_runner.engine.http.adjusting import Adjustable
from loadstone_runner.engine.http.composing import compose
from loadstone_runner.engine.http.connection import NO_SLOTS, Connection
from loadstone_runner.engine.http.conversing import Conversing
from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.pool import Pool, may_go_again
from loadstone_runner.engine.http.redirects import after_redirect, location_of
from loadstone_runner.engine.http.requests import method_of, write, write_body
from loadstone_runner.engine.http.streaming import NO_CONTEXT, error_of, nanoseconds, statuses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from loadstone_runner.engine.http.connection import Answer, Exchange
    from loadstone_runner.engine.http.outfit import Outfit
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.resolution import Resolver
    from loadstone_runner.engine.instruments import Instruments

REDIRECTS_MAX: Final = 10

_SECOND_NS: Final = 1_000_000_000
_OPEN_MAX: Final = 100
_WRITTEN_MAX: Final = 1_024
# Members of an enum are looked up by a call in Python.
_FIRST_BYTE, _BODY, _DNS, _CONNECT = Phase.FIRST_BYTE, Phase.BODY, Phase.DNS, Phase.CONNECT
_TLS, _TLS_RESUMED = Phase.TLS, Phase.TLS_RESUMED


# What a client remembers, by flavour in slots or in fields of C: there may be tens of thousands of clients.
FIELDS: Final = (
    "_connect_timeout_ns", "_courier", "_dialer", "_instruments", "_open_replies", "_outfit", "_passage", "_pool",
    "_renamed", "_table", "_target", "_timeout_ns", "_written", "_written_with", "discard_bodies", "exchanges",
    "headers", "scenario", "start_delay_ns",
)  # fmt: skip


class Wish(NamedTuple):
    """What the script asked for beside the request itself."""

    timeout: float | None
    catch: bool
    redirects: int
    expected: Collection[int] | None
    discard: bool | None
    context: Mapping[str, Any]


PLAIN: Final = Wish(timeout=None, catch=False, redirects=REDIRECTS_MAX, expected=None, discard=None, context=NO_CONTEXT)


class Client(Adjustable, Conversing):
    """What every flavour of a client does the same way; see `loadstone.HttpClient` for what scripts may rely on.

    Attributes:
        start_delay_ns: how late the running iteration was started; added to the latency of its first request.
        exchanges: requests that were answered, so that the engine knows whether an iteration has let others run.
        scenario: that the samples belong to.
    """

    __slots__ = NO_SLOTS

    _connect: ClassVar[type[Exchange]]
    _pool: Pool
    _table: dict[tuple[str, str], Written]
    _written: dict[tuple[str, str], Written]
    _written_with: dict[str, str]
    discard_bodies: bool

    def __init__(self, outfit: Outfit, instruments: Instruments, resolver: Resolver) -> None:
        """Make the client of one user; clients of one outfit share what they have written."""
        self._outfit = outfit
        self._timeout_ns = nanoseconds(outfit.options.timeout)
        self._connect_timeout_ns = nanoseconds(outfit.options.connect_timeout)
        self.headers = dict(outfit.headers)
        self.discard_bodies = outfit.options.discard_bodies
        self.scenario = SCENARIO
        self.start_delay_ns = 0
        self.exchanges = 0
        self._target = outfit.target
        self._instruments = instruments
        self._dialer = outfit.dialer(resolver)
        self._pool = Pool(self._dialer, self._connect)
        self._courier = outfit.courier(self._dialer)
        self._passage = outfit.passage()
        self._open_replies = []
        self._use(outfit.written)
        self._written_with = outfit.headers
        self._renamed = None

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
        written = self._table.get((method, path))
        if written is None:
            sent_method = method_of(method)
            body, own = write_body(sent_method, None, None)
            written = write(sent_method, place_of(self._target, path), {**self.headers, **own}, body)
            if self._is_plain:
                written = self._prepared(written)
            if len(self._table) >= _WRITTEN_MAX:
                self._table.clear()
            self._table[(method, path)] = written
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
        if self._passage is not None:
            self._passage.end_iteration()

    def close(self) -> None:
        """Close all connections; the client may go on to be used."""
        self._pool.close()
        if self._courier is not None:
            self._courier.close()

    def _request_with(  # noqa: PLR0913 the options of RequestOptions
        self,
        method: str,
        path: str,
        *,
        name: str | None,
        context: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = True,
        catch_response: bool = False,
        expect_status: int | Collection[int] | None = None,
        discard_body: bool | None = None,
        **content: Any,
    ) -> Reply:
        written = compose(method, self._target, path, self.headers, **content)
        expected = statuses(expect_status)
        # What was made while it was sent cannot be sent again.
        redirects = REDIRECTS_MAX if allow_redirects and written.pieces is None else 0
        wish = Wish(timeout, catch_response, redirects, expected, discard_body, context or NO_CONTEXT)
        if written.pieces is None:
            return self._ask(written, name, wish)
        deadline_ns = monotonic_ns() + (self._timeout_ns if timeout is None else nanoseconds(timeout))
        self._instruments.begin_request()
        return self._ask(written, name, wish, self._deliver(written, deadline_ns, discard=discard_body, is_plain=False))

    @staticmethod
    def _prepared(written: Written) -> Written:
        """Return a request in the form in which it is kept to be sent again."""
        return written

    def _renew_written(self) -> None:
        """Forget what was written with other headers: clients without any of their own share their requests."""
        self._written_with = dict(self.headers)
        self._use(self._outfit.written if self.headers == self._outfit.headers else {})

    def _use(self, table: dict[tuple[str, str], Written]) -> None:
        """Look requests up in a table from now on; a flavour's fast path only if nothing else has to be done."""
        self._table = table
        self._written = table if self._is_plain else {}

    @property
    def _is_plain(self) -> bool:
        """Whether requests go over the pool's connections as they are written."""
        return self._passage is None and not self._outfit.has_courier

    def _ask(self, written: Written, name: str | None, wish: Wish, answered: Answer | None = None) -> Reply:
        """Send a request and follow redirects; each hop is recorded before the next one starts.

        The answer to the first request may be there already.
        """
        timeout_ns = self._timeout_ns if wish.timeout is None else nanoseconds(wish.timeout)
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
            self._record(answer, written.method, series, error=None, url=written.place.url)
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
            self.start_delay_ns = answer.delay_ns
            answer = self._send_begun(written, deadline_ns, discard=None)
        else:
            self.exchanges += answer.received > 0
        return self._ask(written, name, PLAIN, answer)

    def _send(self, written: Written, timeout_ns: int, *, discard: bool | None) -> Answer:
        """Count a request as started, send it and return the answer."""
        self._instruments.begin_request()
        return self._send_begun(written, monotonic_ns() + timeout_ns, discard=discard)

    def _send_begun(self, written: Written, deadline_ns: int, *, discard: bool | None) -> Answer:
        """Send a request that is counted as started, and return the answer."""
        return self._deliver(written, deadline_ns, discard=discard, is_plain=self._is_plain)

    def _deliver(self, written: Written, deadline_ns: int, *, discard: bool | None, is_plain: bool) -> Answer:
        delay, self.start_delay_ns = self.start_delay_ns, 0
        keeps_body = not (self.discard_bodies if discard is None else discard)
        if is_plain:
            answer = self._pool.send(
                written,
                deadline_ns=deadline_ns,
                connect_timeout_ns=self._connect_timeout_ns,
                keeps_body=keeps_body,
            )
        else:
            answer = self._send_dressed(written, deadline_ns, keeps_body=keeps_body)
        answer.delay_ns = delay
        if answer.received:
            self.exchanges += 1
        return answer

    def _send_dressed(self, written: Written, deadline_ns: int, *, keeps_body: bool) -> Answer:
        """Send a request that has more to it: cookies, codings, a proxy, a courier."""
        if self._passage is not None:
            written = self._passage.outgoing(written)
        if written.pieces is None and not self._outfit.has_courier:
            answer = self._pool.send(
                written,
                deadline_ns=deadline_ns,
                connect_timeout_ns=self._connect_timeout_ns,
                keeps_body=keeps_body,
            )
        else:
            connect_by = min(deadline_ns, monotonic_ns() + self._connect_timeout_ns)
            answer = self._couriered().send(
                written, deadline_ns=deadline_ns, connect_by_ns=connect_by, keeps_body=keeps_body
            )
        if self._passage is not None:
            self._passage.incoming(written, answer)
        return answer

    def _conclude(self, answer: Answer, written: Written, series: str, wish: Wish) -> Reply:
        """Return the reply, recorded unless the script wants to decide on it."""
        error = error_of(answer, wish.expected)
        reply = Reply(
            answer.status,
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
            self._record(answer, written.method, series, error=error, url=written.place.url, context=wish.context)
        if answer.raised is not None:
            raise answer.raised
        return reply

    def _decider(self, answer: Answer, written: Written, context: Mapping[str, Any]) -> Callable[[Reply], None]:
        """Return what records an open reply as it stands when the script has decided."""

        def decide(reply: Reply) -> None:
            if reply in self._open_replies:
                self._open_replies.remove(reply)
            url = written.place.url
            self._record(answer, written.method, reply.name, error=reply.error, url=url, context=context)

        return decide

    def _record(
        self,
        answer: Answer,
        method: str,
        name: str,
        *,
        error: str | None,
        url: str,
        context: Mapping[str, Any] = NO_CONTEXT,
    ) -> None:
        service = answer.end_ns - answer.begin_ns
        failure = answer.failure
        is_broken = failure is not None and not answer.status
        phases = [(_FIRST_BYTE, answer.first_byte_ns - answer.begin_ns)] if answer.first_byte_ns else []
        if answer.first_byte_ns and answer.status:
            phases.append((_BODY, answer.end_ns - answer.first_byte_ns))
        if answer.opening is not None:
            phases += [(_DNS, answer.opening.dns_ns), (_CONNECT, answer.opening.connect_ns)]
            if answer.opening.tls_ns:
                tls = _TLS_RESUMED if answer.opening.tls_resumed else _TLS
                phases.append((tls, answer.opening.tls_ns))
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
            phases=phases,
        )
        if self._instruments.on_request is not None:
            latency = service + answer.delay_ns
            self._instruments.on_request(method, name, latency, answer.received, error, answer.status, url, context)


class HttpClient(Client):
    """The client of one user, or of setup and teardown."""

    __slots__ = FIELDS

    _connect = Connection

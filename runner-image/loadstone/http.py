"""The HTTP client as scripts see it. Connections, bytes and timing belong to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Unpack

    from loadstone.conversations import ServerEvents, WebSocket
    from loadstone.reply import Reply
    from loadstone.streams import StreamReply

    Scalar = str | int | float | bool
    FileContent = bytes | str | Path | BinaryIO
    Auth = tuple[str, str] | str
    Form = Mapping[str, Scalar | Sequence[Scalar] | None]
    Parameters = Form | Sequence[tuple[str, Scalar]]


class RequestOptions(TypedDict, total=False):
    """What every request takes beside method and path.

    Attributes:
        name: of the series; default: the path without its query. Give one to paths with identifiers in them.
        params: query parameters; a sequence as a value repeats its name, None leaves it out.
        headers: beside the client's own; None as a value leaves one of those out.
        json: value of the body, sent with `Content-Type: application/json`. Excludes data.
        data: bytes or text of the body, a mapping that is sent as a form, an open binary file, or an iterable of bytes
            that is sent in chunks while it is made. Redirects are not followed for the last two.
        files: of a multipart form, by name: a content, (file name, content) or (file name, content, type); a content is
            bytes, text, a path or an open binary file. `data` then has the form's other fields.
        auth: (user, password) for Basic, or a text for Bearer.
        timeout: seconds from the start until the whole answer is there; default: the client's `timeout`.
        allow_redirects: follow them, 10 at most (the default). Each hop is a request of its own with the same name.
        catch_response: leave the decision to the script: see `HttpClient`.
        discard_body: read the body of the answer over instead of keeping it; default: the client's `discard_bodies`.
        expect_status: these statuses pass and all others fail; default: below 400 passes.
        context: given to listeners of `events.request`, not recorded.
    """

    name: str | None
    params: Parameters | None
    headers: Mapping[str, str | None] | None
    json: Any
    data: bytes | str | Form | BinaryIO | Iterable[bytes] | None
    files: Mapping[str, FileContent | tuple[str, FileContent] | tuple[str, FileContent, str]] | None
    auth: Auth | None
    timeout: float | None
    allow_redirects: bool
    catch_response: bool
    expect_status: int | Collection[int] | None
    discard_body: bool | None
    context: Mapping[str, Any] | None


class OpeningOptions(TypedDict, total=False):
    """What the opening of a WebSocket or of a stream of events takes beside its path.

    Attributes:
        name: of the series; default: the path without its query.
        timeout: seconds for the opening, and for each message unless `receive` says otherwise; default: the client's.
        params: query parameters.
        headers: beside the client's own.
        auth: (user, password) for Basic, or a text for Bearer.
    """

    name: str | None
    timeout: float | None
    params: Parameters | None
    headers: Mapping[str, str | None] | None
    auth: Auth | None


class Cookies(Protocol):
    """One user's cookies, RFC 6265; iteration gives their names."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the value of a cookie, whatever its domain."""
        ...

    def set(self, name: str, value: str, *, domain: str, path: str = "/") -> None:
        """Put a cookie in by hand; it goes to `domain` and the hosts below it."""
        ...

    def clear(self) -> None:
        """Forget all cookies."""
        ...


class HttpClient(Protocol):
    """One user's client: keep-alive connections of its own, paths relative to the target.

    No request raises because of what the target or the network does: the reply then says `ok == False`, has the status
    0 if there was no answer, and names the failure in `error`. A status of 400 or above is a failure too, unless
    `expect_status` or the script says otherwise; to say so by hand:

        with self.http.get("/stock/7", catch_response=True) as reply:
            if reply.status == 404:
                reply.success()
            elif b"sold out" in reply.body:
                reply.failure("sold out")
            reply.rename("/stock/[item]")

    The sample is recorded at the end of the block. Whoever says nothing gets the ordinary rule.

    Attributes:
        timeout: seconds until a request must be answered in full.
        connect_timeout: seconds that DNS, TCP and TLS may take of it.
        verify: check certificates: True, False, or the path of a file with trusted ones.
        headers: sent with every request.
        cookies: of this user, when `HttpOptions.cookies` keeps them.
        discard_bodies: read bodies over instead of keeping them: `reply.body` is empty then. Saves memory where
            answers are long and nobody looks at them.
    """

    timeout: float
    connect_timeout: float
    verify: bool | str
    headers: dict[str, str]
    discard_bodies: bool

    @property
    def cookies(self) -> Cookies:
        """This user's cookies."""
        ...

    def rename(self, name: str) -> AbstractContextManager[None]:
        """Let all requests in a `with` block that have no `name` of their own have this one.

        with self.http.rename("/orders/[id]"):
            self.http.get(f"/orders/{number}")
        """
        ...

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send one request and return its reply.

        Args:
            method: any; `GET` and the like have methods of their own, and are sent in capitals.
            path: relative to the target (`/orders?open=1`), or a URL.
            options: see `RequestOptions`.

        Raises:
            ValueError: the request cannot be written: a path without a target, a header with a line break.
        """
        ...

    def get(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send GET; see `request`."""
        ...

    def post(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send POST; see `request`."""
        ...

    def put(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send PUT; see `request`."""
        ...

    def patch(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send PATCH; see `request`."""
        ...

    def delete(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send DELETE; see `request`."""
        ...

    def head(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send HEAD; see `request`. Redirects are not followed unless asked for."""
        ...

    def options(self, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send OPTIONS; see `request`."""
        ...

    def stream(self, method: str, path: str, **options: Unpack[RequestOptions]) -> StreamReply:
        """Send one request whose answer the script reads bit by bit; of any length, and never held as a whole.

            with self.http.stream("GET", "/export") as reply:
                for piece in reply.iter_bytes():
                    ...

        Redirects are not followed, and codings not asked for nor undone; `catch_response` is always so.
        """
        ...

    def websocket(
        self, path: str, *, subprotocols: str | Sequence[str] = (), **options: Unpack[OpeningOptions]
    ) -> WebSocket:
        """Open a WebSocket; the opening is a request with the method WS.

            with self.http.websocket("/chat") as chat:
                answer = chat.ask("hello")

        Args:
            path: relative to the target, or a URL (`ws://` and `wss://` as well).
            subprotocols: that are offered, the preferred one first; one alone may be a text.
            options: see `OpeningOptions`.

        Raises:
            ValueError: it cannot be asked for: a path without a target, or the package wsproto is missing.
        """
        ...

    def server_events(self, path: str, **options: Unpack[OpeningOptions]) -> ServerEvents:
        """Open a stream of server-sent events; the opening is a request with the method SSE.

            with self.http.server_events("/news") as news:
                for event in news:
                    ...

        Args:
            path: relative to the target, or a URL.
            options: see `OpeningOptions`; the header `Last-Event-ID` goes on where another stream ended.
        """
        ...

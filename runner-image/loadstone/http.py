"""The HTTP client as scripts see it. Connections, bytes and timing belong to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Unpack

    from loadstone.reply import Reply

    Scalar = str | int | float | bool
    Parameters = Mapping[str, Scalar | Sequence[Scalar]] | Sequence[tuple[str, Scalar]]


class RequestOptions(TypedDict, total=False):
    """What every request takes beside method and path.

    Attributes:
        name: of the series; default: the path without its query. Give one to paths with identifiers in them.
        params: query parameters; a sequence as a value repeats its name.
        headers: beside the client's own; None as a value leaves one of those out.
        json: value of the body, sent with `Content-Type: application/json`. Excludes data.
        data: bytes or text of the body, or a mapping that is sent as a form.
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
    data: bytes | str | Mapping[str, Scalar | Sequence[Scalar]] | None
    timeout: float | None
    allow_redirects: bool
    catch_response: bool
    expect_status: int | Collection[int] | None
    discard_body: bool | None
    context: Mapping[str, Any] | None


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
        discard_bodies: read bodies over instead of keeping them: `reply.body` is empty then. Saves memory where
            answers are long and nobody looks at them.
    """

    timeout: float
    connect_timeout: float
    verify: bool | str
    headers: dict[str, str]
    discard_bodies: bool

    def rename(self, name: str) -> AbstractContextManager[None]:
        """Let all requests in a `with` block that have no `name` of their own have this one.

        with self.http.rename("/orders/[id]"):
            self.http.get(f"/orders/{number}")
        """
        ...

    def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> Reply:
        """Send one request and return its reply.

        Args:
            method: any; `GET` and the like have methods of their own.
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

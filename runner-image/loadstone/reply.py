"""What came back: status, headers, body, and whether it counts as a success. Receiving it belongs to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType


class Reply:
    """The answer to one request, or why there is none.

    Attributes:
        status: HTTP status; 0 if there was no whole answer.
        body: bytes after the header, unchunked and not decompressed.
        error: None, or the named failure: `refused`, `timeout`, `status 500`, what `failure()` was given, ...
        url: that was asked for; after redirects the last one.
        name: of the series that the sample belongs to.
        elapsed: seconds from the first byte sent to the last byte read.
    """

    __slots__ = ("_decide", "_head", "_headers", "body", "elapsed", "error", "name", "status", "url")

    def __init__(  # noqa: PLR0913 plain values, given by the engine alone
        self,
        status: int,
        head: bytes,
        *,
        body: bytes,
        error: str | None,
        url: str,
        name: str,
        elapsed: float,
    ) -> None:
        self.status = status
        self.body = body
        self.error = error
        self.url = url
        self.name = name
        self.elapsed = elapsed
        self._head = head
        self._headers: Headers | None = None
        self._decide: Callable[[Reply], None] | None = None

    @property
    def ok(self) -> bool:
        """Whether this counts as a success."""
        return self.error is None

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers; names are looked up without regard to case, repeated ones are joined with a comma."""
        if self._headers is None:
            self._headers = Headers(self._head)
        return self._headers

    @property
    def content(self) -> bytes:
        """The body, under the name that `requests` has for it."""
        return self.body

    @property
    def text(self) -> str:
        """The body as text, in the charset that Content-Type names, else UTF-8; what does not fit is replaced."""
        _, _, charset = self.headers.get("content-type", "").lower().partition("charset=")
        charset = charset.split(";")[0].strip().strip("\"'")
        try:
            return self.body.decode(charset or "utf-8", "replace")
        except (LookupError, ValueError):
            # Of a charset that nobody knows, or that is Python's and none of texts (`undefined`, `idna`).
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body's value.

        Raises:
            ValueError: the body is no JSON; `check` the status first.
        """
        from json import loads

        return loads(self.body)

    def failure(self, why: str) -> None:
        """Count this as failed, with `why` as its error: a few words, the same for the same cause.

        Raises:
            RuntimeError: it is recorded already: use `with ...(..., catch_response=True) as reply`.
        """
        self._require_open("failure")
        self.error = str(why)

    def success(self) -> None:
        """Count this as passed, whatever its status.

        Raises:
            RuntimeError: it is recorded already (see `failure`), or there is no whole answer to pass.
        """
        self._require_open("success")
        if not self.status:
            raise RuntimeError(f"success(): {self.name} got no whole answer ({self.error})")
        self.error = None

    def rename(self, name: str) -> None:
        """Let this count in the series of another name: known only when the answer is there.

        Raises:
            RuntimeError: it is recorded already (see `failure`).
        """
        self._require_open("rename")
        self.name = str(name)

    def leave_open(self, decide: Callable[[Reply], None]) -> None:
        """Let `decide` record this at the end of the `with` block; called by the engine."""
        self._decide = decide

    def settle(self) -> None:
        """Record this now if it is still open."""
        decide, self._decide = self._decide, None
        if decide is not None:
            decide(self)

    def _require_open(self, method: str) -> None:
        if self._decide is None:
            raise RuntimeError(
                f"{method}(): this reply is recorded already; ask with catch_response=True and decide inside `with`"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()

    def __bool__(self) -> bool:
        """Return `ok`, as `requests` does."""
        return self.error is None

    def __repr__(self) -> str:
        return f"<Reply {self.name} {self.status or '-'}{f' {self.error}' if self.error else ''}>"


class Headers(dict[str, str]):
    """Header values by name, without regard to case; iteration gives lower-case names."""

    __slots__ = ()

    def __init__(self, head: bytes) -> None:
        super().__init__()
        for line in head.split(b"\r\n")[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                key, text = name.strip().lower(), value.strip()
                held = dict.get(self, key)
                dict.__setitem__(self, key, text if held is None else f"{held}, {text}")

    def __getitem__(self, name: str) -> str:
        return dict.__getitem__(self, name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and dict.__contains__(self, name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return a header's value, or the default."""
        return dict.get(self, name.lower(), default)

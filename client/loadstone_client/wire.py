"""What both clients have in common: where a run is, what is asked of it, what its answers mean. No I/O."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from loadstone_client.errors import ClientError, Refused, Unreachable
from loadstone_client.events import EventReader
from loadstone_client.values import outcome_from, row_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadstone_client.values import Outcome, Row, Tier

UNIX = "unix"


class Address(NamedTuple):
    """Where a run's control API is.

    Attributes:
        socket: path of a Unix socket; None: the host has a port.
        host: of the port, for the Host header too.
        port: of TCP.
        token: what is said to be let in; empty for a socket.
        tls: how the server of an https address is known; None: there is no TLS.
    """

    socket: str | None
    host: str
    port: int
    token: str
    tls: ssl.SSLContext | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every request says."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def url(self) -> str:
        """The beginning of every URL."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://[{self.host}]:{self.port}" if ":" in self.host else f"{scheme}://{self.host}:{self.port}"

    def __str__(self) -> str:
        """Return it for people, without the token."""
        return self.url if self.socket is None else f"{UNIX}:{self.socket}"


def parse_address(text: str, token: str = "", tls: ssl.SSLContext | None = None) -> Address:
    """Return where `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT` is.

    Raises:
        ClientError: it is something else, or the token is none.
    """
    # A file that holds it ends with a line's end.
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise ClientError("a token is printable ASCII in one line")
    if text.startswith(f"{UNIX}:"):
        return Address(text.removeprefix(f"{UNIX}:"), "run", 80, token)
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise ClientError(f"an address is unix:PATH, http://HOST:PORT or https://HOST:PORT, not {text!r}")
    if parts.scheme == "http":
        return Address(None, parts.hostname, parts.port or 80, token)
    return Address(None, parts.hostname, parts.port or 443, token, tls or ssl.create_default_context())


def load_wish(users: int | None, rate: int | None, *, spawn_rate: int | None, scenario: str | None) -> bytes:
    """Return the body that asks for another load."""
    told = {"users": users, "rate": rate, "spawnRate": spawn_rate, "scenario": scenario}
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def answer_of(status: int, body: bytes) -> Any:
    """Return the document of an answer.

    Raises:
        Refused: it is an error; the message is its sentence.
        Unreachable: no Loadstone answers, and who does, as an ingress or a proxy before it, says that it is not there.
        ClientError: no Loadstone answers there.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    is_error = status >= 400  # noqa: PLR2004 where errors begin in HTTP
    if not isinstance(document, dict) or (is_error and "error" not in document):
        if status >= 500:  # noqa: PLR2004 where those of servers begin
            raise Unreachable(f"the run does not answer: HTTP {status}")
        raise ClientError(f"this is no control API of Loadstone: HTTP {status} without its JSON")
    if is_error:
        raise Refused(status, document["error"])
    return document


class Watch:
    """One watch over all its connections: what was received, and from which second to go on.

    Attributes:
        outcome: how the run ended, once that was received.
        was_heard: something was received over the newest connection, if only that the run is alive.
    """

    def __init__(self, tier: Tier, from_second: int) -> None:
        self.outcome: Outcome | None = None
        self.was_heard = False
        self._tier = tier
        self._from_second = from_second
        self._reader = EventReader()

    def path(self) -> str:
        """Return what to ask for on the next connection."""
        self.was_heard = False
        self._reader = EventReader()
        return f"/v1/run/watch?tier={self._tier}&from={self._from_second}"

    def read(self, received: bytes) -> Iterator[Row]:
        """Yield the rows in what was received."""
        self.was_heard = True
        for event in self._reader.feed(received):
            if event.kind == "row":
                row = row_from(json.loads(event.data))
                self._from_second = row.second + 1
                yield row
            elif event.kind == "outcome":
                self.outcome = outcome_from(json.loads(event.data))

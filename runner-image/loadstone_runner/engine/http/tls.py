"""TLS as a pair of transformations: what is to be sent is sealed, what came is opened. Sockets are not known here.

`ssl` is imported when the first https URL is asked for, as it costs a start of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

if TYPE_CHECKING:
    import ssl

_READ_BYTES: Final = 65_536

_contexts: dict[bool | str, ssl.SSLContext] = {}


def context_of(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001 True, False or a path, as scripts say it
    """Return the process's one context for a way to check certificates: True, False, or a file of trusted ones.

    Raises:
        ExchangeError: of kind TLS, when the file cannot be used.
    """
    held = _contexts.get(verify)
    if held is None:
        held = _contexts[verify] = _make_context(verify)
    return held


class TlsSession:
    """One connection's TLS, client side."""

    __slots__ = ("_incoming", "_is_closed", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        import ssl

        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the peer has said that nothing more will come."""
        return self._is_closed

    def handshake(self, received: bytes | None) -> tuple[bool, bytes]:
        """Take what came (None at the start, b"" at the end); return whether it is done, and what to send.

        Raises:
            ExchangeError: of kind TLS.
        """
        import ssl

        self._take(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise ExchangeError(FailureKind.TLS, _sentence(error)) from error
        return True, self._outgoing.read()

    def seal(self, plain: bytes) -> bytes:
        """Return the records of some bytes."""
        self._object.write(plain)
        return self._outgoing.read()

    def open(self, received: bytes) -> bytes:
        """Return what records say, which may be nothing yet; b"" received is the end of the connection.

        Raises:
            ExchangeError: of kind TLS.
        """
        import ssl

        self._take(received)
        parts: list[bytes] = []
        try:
            while part := self._object.read(_READ_BYTES):
                parts.append(part)
                if not self._incoming.pending and not self._object.pending():
                    # Another read could only say so by an exception, which costs more than all the rest.
                    break
            else:
                self._is_closed = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._is_closed = True
        except ssl.SSLError as error:
            raise ExchangeError(FailureKind.TLS, _sentence(error)) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def answer(self) -> bytes:
        """Return records that TLS itself wants to send, such as a new key."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def _take(self, received: bytes | None) -> None:
        if received:
            self._incoming.write(received)
        elif received is not None:
            self._incoming.write_eof()


def _make_context(verify: bool | str) -> ssl.SSLContext:  # noqa: FBT001 as above
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=verify)
        except (OSError, ssl.SSLError) as error:
            raise ExchangeError(FailureKind.TLS, f"cannot use the certificates in {verify}: {error}") from error
    return context


def _sentence(error: Exception) -> str:
    """Return OpenSSL's reason without the place in its source."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    return str(reason).lower().replace("_", " ")

"""TLS as a pair of transformations: what is to be sent is sealed, what came is opened. Sockets are not known here.

`ssl` is imported when the first https URL is asked for, as it costs a start of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind

if TYPE_CHECKING:
    import ssl

    from loadstone_runner.engine.http.profile import TlsTerms

_READ_BYTES: Final = 65_536

_contexts: dict[TlsTerms, ssl.SSLContext] = {}

# X509_V_ERR_* of OpenSSL's x509_vfy.h, those that people meet; the others are said in OpenSSL's own words.
_CERTIFICATE_SENTENCES: Final = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed and nobody vouches for it",
    19: "the certificate's chain ends in an unknown self-signed authority",
    20: "the certificate's authority is unknown",
    21: "the certificate's authority is unknown",
    23: "the certificate has been revoked",
    62: "the certificate is for another host",
    64: "the certificate is for another address",
}


def context_of(terms: TlsTerms) -> ssl.SSLContext:
    """Return the process's one context for its terms; made once, as reading the system's certificates takes 17 ms.

    Raises:
        ExchangeError: of kind TLS, when a file or a cipher list cannot be used.
    """
    held = _contexts.get(terms)
    if held is None:
        held = _contexts[terms] = _make_context(terms)
    return held


class TlsSession:
    """One connection's TLS, client side."""

    __slots__ = ("_incoming", "_is_closed", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, host: str, remembered: ssl.SSLSession | None = None) -> None:
        import ssl

        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # The dot of a full name (`shop.svc.cluster.local.`) is none of the certificate's, nor of SNI (RFC 6066).
        name = host.removesuffix(".")
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=remembered)
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the peer has said that nothing more will come."""
        return self._is_closed

    @property
    def is_resumed(self) -> bool:
        """Whether the handshake took up a remembered session."""
        return bool(self._object.session_reused)

    @property
    def remembered(self) -> ssl.SSLSession | None:
        """What a later connection may take up; of TLS 1.3 only once its ticket has come, after the first answer."""
        return self._object.session

    @property
    def protocol(self) -> str:
        """What ALPN agreed on; empty: nothing."""
        return self._object.selected_alpn_protocol() or ""

    def handshake(self, received: bytes | None) -> tuple[bool, bytes]:
        """Take what came (None at the start, b"" at the end); return whether it is done, and what to send.

        Raises:
            ExchangeError: of kind TLS or CERTIFICATE.
        """
        import ssl

        self._take(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False, self._outgoing.read()
        except ssl.SSLCertVerificationError as error:
            raise ExchangeError(FailureKind.CERTIFICATE, _certificate_sentence(error)) from error
        except ssl.SSLError as error:
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


class NestedTls:
    """TLS inside TLS: to a target through a tunnel of an https proxy. Speaks like the inner session."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: TlsSession, inner: TlsSession) -> None:
        self._outer = outer
        self._inner = inner

    @property
    def is_closed(self) -> bool:
        """Whether either peer has said that nothing more will come."""
        return self._inner.is_closed or self._outer.is_closed

    @property
    def is_resumed(self) -> bool:
        """Whether the inner handshake took up a remembered session."""
        return self._inner.is_resumed

    @property
    def remembered(self) -> ssl.SSLSession | None:
        """What a later connection to the same target may take up."""
        return self._inner.remembered

    @property
    def protocol(self) -> str:
        """What ALPN agreed on with the target."""
        return self._inner.protocol

    def handshake(self, received: bytes | None) -> tuple[bool, bytes]:
        """Take what came through the tunnel; see `TlsSession.handshake`."""
        plain = None if received is None else self._outer.open(received)
        if received and not plain and not self._outer.is_closed:
            return False, self._outer.answer()
        done, answer = self._inner.handshake(plain)
        return done, self._outer.seal(answer) if answer else self._outer.answer()

    def seal(self, plain: bytes) -> bytes:
        """Return the outer records of the inner records of some bytes."""
        return self._outer.seal(self._inner.seal(plain))

    def open(self, received: bytes) -> bytes:
        """Return what inner records say."""
        plain = self._outer.open(received)
        if not plain and received and not self._outer.is_closed:
            return b""
        return self._inner.open(plain)

    def answer(self) -> bytes:
        """Return records that either TLS itself wants to send."""
        inner = self._inner.answer()
        return (self._outer.seal(inner) if inner else b"") + self._outer.answer()


Tls = TlsSession | NestedTls


def _make_context(terms: TlsTerms) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if terms.alpn:
        context.set_alpn_protocols(list(terms.alpn))
    _set_versions(context, terms)
    if terms.certificate is not None:
        try:
            context.load_cert_chain(*terms.certificate)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("the client certificate", terms.certificate[0], error) from error
    if terms.verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif terms.verify is True:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=terms.verify)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("the certificates", terms.verify, error) from error
    return context


def _set_versions(context: ssl.SSLContext, terms: TlsTerms) -> None:
    import ssl
    import warnings

    versions = {
        "1.0": ssl.TLSVersion.TLSv1,
        "1.1": ssl.TLSVersion.TLSv1_1,
        "1.2": ssl.TLSVersion.TLSv1_2,
        "1.3": ssl.TLSVersion.TLSv1_3,
    }
    with warnings.catch_warnings():
        # Python warns of versions before 1.2; who asks for one wants to test a server that still speaks it.
        warnings.simplefilter("ignore", DeprecationWarning)
        if terms.minimum is not None:
            context.minimum_version = versions[terms.minimum]
        if terms.maximum is not None:
            if terms.minimum is None:
                context.minimum_version = min(context.minimum_version, versions[terms.maximum])
            context.maximum_version = versions[terms.maximum]
    ciphers = terms.ciphers
    if ciphers is None and (terms.minimum or terms.maximum or "1.2") <= "1.1":
        # The old versions' hashes are below OpenSSL's default security level.
        ciphers = "DEFAULT:@SECLEVEL=0"
    if ciphers is not None:
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError as error:
            raise ExchangeError(FailureKind.TLS, f"OpenSSL knows no cipher of {ciphers!r}") from error


def _unusable(what: str, path: object, error: Exception) -> ExchangeError:
    reason = getattr(error, "strerror", None) or _sentence(error)
    return ExchangeError(FailureKind.TLS, f"cannot use {what} in {path}: {reason}")


def _certificate_sentence(error: ssl.SSLCertVerificationError) -> str:
    """Return what is wrong with a certificate, with OpenSSL's words for what they add."""
    sentence = _CERTIFICATE_SENTENCES.get(error.verify_code)
    own = (error.verify_message or "").strip().rstrip(".")
    if sentence is None:
        return own.lower() or _sentence(error)
    # Names are in OpenSSL's own words only: "Hostname mismatch, certificate is not valid for 'a.test'".
    _, quoted, name = own.partition("not valid for ")
    return f"{sentence}: it is not valid for {name}" if quoted else sentence


def _sentence(error: Exception) -> str:
    """Return OpenSSL's reason without the place in its source."""
    reason = getattr(error, "reason", None) or str(error)
    return str(reason).lower().replace("_", " ")

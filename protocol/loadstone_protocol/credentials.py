"""Open channels and ports that ask every peer for its certificate, and read whose it is. What follows is not decided.

TLS is gRPC's own (BoringSSL): neither agent nor master loads OpenSSL. A peer without a certificate of the run's
authority does not get past the handshake; whether it is the right process of the right run is asked of
`peer_identity`, and of a master by the host name that only its certificate has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio

from loadstone_protocol.identity import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    Identity,
    Pems,
    parse,
    server_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What gRPC calls the URIs of a peer's certificate.
_URIS: Final = "peer_uri"


def read_pems(folder: str) -> Pems | None:
    """Return what is in a folder as it is mounted; None where there is no folder, as TLS is off.

    Raises:
        OSError: a file is missing or may not be read.
    """
    if not folder:
        return None
    files = (AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE)
    return Pems(*(Path(folder, name).read_bytes() for name in files))


def open_channel(target: str, options: Sequence[tuple[str, Any]], *, run_uid: str, pems: Pems | None) -> aio.Channel:
    """Return a channel to the master of a run; with `pems` to nobody else, whatever listens at the target."""
    if pems is None:
        return aio.insecure_channel(target, options=options)
    own = grpc.ssl_channel_credentials(pems.authority, pems.key, pems.certificate)
    named = (*options, ("grpc.ssl_target_name_override", server_name(run_uid)))
    return aio.secure_channel(target, own, options=named)


def add_port(
    server: aio.Server, listen: str, pems: Pems | None, on_connection: Callable[[], None] = lambda: None
) -> int:
    """Let a server listen; with `pems` to those only who have a certificate of the same authority.

    Of each connection that comes, `on_connection` is told before its handshake, in a thread of gRPC's; without `pems`
    of none.

    Raises:
        RuntimeError: it cannot listen there.
    """
    if pems is None:
        return server.add_insecure_port(listen)
    own = grpc.dynamic_ssl_server_credentials(
        grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authority),
        on_connection,  # type: ignore[arg-type]  # is asked for a newer certificate, and may answer None
        require_client_authentication=True,
    )
    return server.add_secure_port(listen, own)


def peer_identity(context: aio.ServicerContext[Any, Any]) -> Identity | None:
    """Return who calls by its certificate, or None when it has none or one that names nobody of a run."""
    uris = list(context.auth_context().get(_URIS) or ())
    return parse(uris[0].decode("ascii", "replace")) if len(uris) == 1 else None

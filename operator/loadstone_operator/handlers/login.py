"""Log kopf in, and keep it alive while a token is refused: its own login would give up for ever after one refusal."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_operator.cluster.credentials import Credentials

_RETRY_SECONDS = 2.0
_REFUSED = (401, 403)


def register(registry: kopf.OperatorRegistry, read: Callable[[], Credentials]) -> None:
    """Have kopf ask for its credentials here, at the start and whenever they were refused."""
    used: list[Credentials] = []

    @kopf.on.login(registry=registry, id="login", backoff=_RETRY_SECONDS)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        credentials = read()
        # Asked again with the same token: it was refused, and is not handed out before it works.
        if credentials in used and not await _works(credentials):
            raise kopf.TemporaryError("the API server refuses the token", delay=_RETRY_SECONDS)
        used[:] = [credentials]
        return _connection(credentials)


def _connection(credentials: Credentials) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_data=credentials.ca.encode() or None,
        token=credentials.token or None,
        certificate_data=credentials.certificate.encode() or None,
        private_key_data=credentials.key.encode() or None,
        insecure=credentials.insecure,
    )


async def _works(credentials: Credentials) -> bool:
    """Say whether the API server takes the credentials; no answer at all is for kopf to meet."""
    headers = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{credentials.server}/api", ssl=credentials.ssl_context()) as answer,
        ):
            return answer.status not in _REFUSED
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError):
        return False

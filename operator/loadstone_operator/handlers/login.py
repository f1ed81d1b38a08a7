"""Log kopf in, and keep it alive while a token is refused: its own login would give up for ever after one refusal."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import kopf

from loadstone_operator import naming
from loadstone_operator.cluster.echoes import answers_without_echoes

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_operator.cluster.credentials import Credentials
    from loadstone_operator.cluster.echoes import Echoes

_RETRY_SECONDS = 2.0
_REFUSED = (401, 403)


def register(registry: kopf.OperatorRegistry, read: Callable[[], Credentials], echoes: Echoes) -> None:
    """Have kopf ask for its connection here, at the start and whenever its credentials were refused."""
    used: list[Credentials] = []

    @kopf.on.login(registry=registry, id="login", backoff=_RETRY_SECONDS)
    async def login(**_: Any) -> kopf.AiohttpSession:
        credentials = read()
        # Asked again with the same token: it was refused, and is not handed out before it works.
        if credentials in used and not await _works(credentials):
            raise kopf.TemporaryError("the API server refuses the token", delay=_RETRY_SECONDS)
        used[:] = [credentials]
        return _connection(credentials, echoes)


def _connection(credentials: Credentials, echoes: Echoes) -> kopf.AiohttpSession:
    """Return a session of our own making, which kopf closes when its credentials are refused and at the end."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=credentials.ssl_context()),
        headers=_authorization(credentials),
        response_class=answers_without_echoes(echoes, naming.PLURAL),
    )
    return kopf.AiohttpSession(server=credentials.server, aiohttp_session=session)


def _authorization(credentials: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}


async def _works(credentials: Credentials) -> bool:
    """Say whether the API server takes the credentials; no answer at all is for kopf to meet."""
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=_authorization(credentials)) as session,
            session.get(f"{credentials.server}/api", ssl=credentials.ssl_context()) as answer,
        ):
            return answer.status not in _REFUSED
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError):
        return False

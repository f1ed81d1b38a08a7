"""Leave out what only costs before kopf has it: of watches the echoes, of listed pods the bulk. Nothing is judged here.

What is nested so deeply that it would end kopf is left out as well.

The operator alone writes the status of a LoadTest, and keeps what the API server answered. Beside runs that go on, all
that its watch brings are echoes of those writes: each decoded and taken through kopf's tasks and causes, they cost more
than writing them did. Here they are told by their bytes. What somebody else does to a status is met by the next write,
which is refused, and by the next list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.hdrs import METH_GET

from loadstone_operator import naming
from loadstone_operator.cluster.nesting import loads, shallow
from loadstone_operator.cluster.reading import trim_pod

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp.connector import Connection

_MODIFIED: Final = b'{"type":"MODIFIED"'
_POD: Final = b'"object":{"kind":"Pod",'
_HEAD_BYTES: Final = 64
# The API server writes metadata with its keys in order, and quotes within texts escaped. So whatever a user can change
# (annotations, labels, the generation as the count of the spec's changes, the deletion) stands before this, and the
# status behind it.
_MANAGED_FIELDS: Final = b',"managedFields":['
_IDENTITY: Final = re.compile(rb'"resourceVersion":"([^"]*)","uid":"([^"]*)"')


class Echoes:
    """What was passed on last of each object, and so which event says nothing new.

    Args:
        on_echo: is told UID and resource version of each object whose event is left out.
    """

    def __init__(self, on_echo: Callable[[str, str], None]) -> None:
        self._on_echo = on_echo
        self._heads: dict[bytes, int] = {}

    def begin_anew(self) -> None:
        """Forget all objects: a list is passed on as it is, and of what has gone before it no watch will ever tell."""
        self._heads.clear()

    def is_echo(self, line: bytes) -> bool:
        """Say whether an event, as one line of JSON, differs from the one before it in nothing but the status."""
        head, mark, rest = line.partition(_MANAGED_FIELDS)
        identity = _IDENTITY.search(rest) if mark else None
        if identity is None:
            return False
        version, uid = identity.groups()
        if not head.startswith(_MODIFIED):
            self._heads.pop(uid, None)
            return False
        digest = hash(head)
        if self._heads.get(uid) != digest:
            self._heads[uid] = digest
            return False
        self._on_echo(uid.decode(), version.decode())
        return True


class _Sieve:
    """The content of an answer, without the lines that are echoes."""

    def __init__(self, content: aiohttp.StreamReader, echoes: Echoes) -> None:
        self._content = content
        self._echoes = echoes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Yield whole lines, as they come."""
        rest = b""
        async for chunk in self._content.iter_chunked(n):
            *lines, rest = (rest + chunk).split(b"\n")
            kept = [_readable(line) for line in lines if not self._echoes.is_echo(line)]
            if kept:
                yield b"\n".join((*kept, b""))
        if rest:
            yield rest


def _readable(line: bytes) -> bytes:
    """Return a line as kopf can read it; most are about pods, and nobody can nest these deeply."""
    return line if _POD in line[:_HEAD_BYTES] else shallow(line)


def lean_answers(echoes: Echoes) -> type[aiohttp.ClientResponse]:
    """Return the class of answers for kopf's session: watches of LoadTests without echoes, listed pods trimmed.

    A list of LoadTests stands for what was passed on before it: kopf asks for one when a watch cannot be taken up.
    """

    class Answer(aiohttp.ClientResponse):
        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            await super().start(connection)
            if self.url.name == naming.PLURAL and self.url.query.get("watch") == "true":
                self.content = _Sieve(self.content, echoes)  # type: ignore[assignment]  # as far as it is read here
            return self

        async def json(self, **arguments: Any) -> Any:
            answer = await super().json(**{"loads": loads, **arguments})
            if self.url.name == naming.PLURAL and self.method == METH_GET:
                echoes.begin_anew()
            if self.url.name == "pods" and self.method == METH_GET and isinstance(answer.get("items"), list):
                answer["items"] = [trim_pod(body) for body in answer["items"]]
            return answer

    return Answer

"""Make a request out of what a script asks for: query, headers, and a body of any form. No I/O but files of bodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loadstone_runner.engine.http.auth import authorization
from loadstone_runner.engine.http.multipart import multipart, pieces_of
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.requests import Pieces, Written, method_of, with_query, write, write_body

if TYPE_CHECKING:
    from loadstone.http import Auth


def compose(  # noqa: PLR0913 the options of RequestOptions that make a request
    method: str,
    target: str,
    path: str,
    base: Mapping[str, str | None],
    *,
    params: Any = None,
    headers: Mapping[str, str | None] | None = None,
    json: Any = None,
    data: Any = None,
    files: Mapping[str, Any] | None = None,
    auth: Auth | None = None,
) -> Written:
    """Return a request; `base` are the client's headers, the rest are options of `loadstone.http.RequestOptions`.

    Raises:
        ValueError: it cannot be written.
        TypeError: an option is of no type that can be sent.
    """
    method = method_of(method)
    place = place_of(target, with_query(path, params) if params else path)
    body, own = _body(method, json, data, files=files)
    if auth is not None:
        own["Authorization"] = authorization(auth)
    fields = {**base, **own, **(headers or {})}
    if isinstance(body, Pieces):
        return write(method, place, fields, b"")._replace(pieces=body)
    return write(method, place, fields, body)


def _body(
    method: str, json: Any, data: Any, *, files: Mapping[str, Any] | None
) -> tuple[bytes | Pieces, dict[str, str]]:
    if files is not None:
        if json is not None or not (data is None or isinstance(data, Mapping)):
            raise ValueError("beside files, give data as a mapping of the form's other fields, and no json")
        return multipart(data, files)
    pieces = pieces_of(data) if json is None else None
    if pieces is not None:
        return pieces, pieces.headers
    return write_body(method, json, data)

"""Say who a user is: the Authorization header of Basic (RFC 7617) and Bearer (RFC 6750). No I/O."""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from loadstone.http import Auth

_TOKEN: Final = re.compile(r"[!-~]+\Z")


def authorization(auth: Auth) -> str:
    """Return the value of an Authorization header: (user, password) is Basic, a text is a Bearer token.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(auth, str):
        if not _TOKEN.match(auth):
            raise ValueError("auth: a bearer token is text without spaces and line breaks")
        return f"Bearer {auth}"
    match auth:
        case (str(user), str(password)):
            if ":" in user:
                raise ValueError("auth: the user of Basic must not have a colon in it")
            return "Basic " + b2a_base64(f"{user}:{password}".encode(), newline=False).decode("ascii")
    raise ValueError(f"auth must be (user, password) or a bearer token, not a {type(auth).__name__}")

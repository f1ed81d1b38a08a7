"""Decide who may ask for a run's figures: whoever says the token. Pure."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Admission:
    """The bearer token of one run's control API."""

    def __init__(self, token: str, on_refused: Callable[[], None] = lambda: None) -> None:
        """Take the token, and who counts those without it; an empty one would let everybody in: ValueError."""
        if not token:
            raise ValueError("a token has at least one character")
        self._expected = token.encode()
        self._on_refused = on_refused

    def lets_in(self, authorization: str) -> bool:
        """Say whether the value of an Authorization header holds the token; how long that takes tells nothing of it."""
        scheme, _, told = authorization.partition(" ")
        is_known = scheme.lower() == "bearer" and compare_digest(
            told.strip().encode(errors="surrogateescape"), self._expected
        )
        if not is_known:
            self._on_refused()
        return is_known

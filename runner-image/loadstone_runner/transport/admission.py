"""Decide who may ask for a run's figures: whoever says the token. Pure."""

from __future__ import annotations

from hmac import compare_digest


class Admission:
    """The bearer token of one run's control API."""

    def __init__(self, token: str) -> None:
        """Take the token; an empty one would let everybody in and is refused with ValueError."""
        if not token:
            raise ValueError("a token has at least one character")
        self._expected = token.encode()

    def lets_in(self, authorization: str) -> bool:
        """Say whether the value of an Authorization header holds the token; how long that takes tells nothing of it."""
        scheme, _, told = authorization.partition(" ")
        return scheme.lower() == "bearer" and compare_digest(
            told.strip().encode(errors="surrogateescape"), self._expected
        )

"""Name what the API server can answer instead of the wish. Which answer means what for a run is decided elsewhere."""

from __future__ import annotations

import json
from typing import Any

from loadstone_core.errors import WorldError


class ApiError(WorldError):
    """The API server refused or did not answer; `status` is the HTTP code, 0 without an answer."""

    def __init__(self, status: int, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unreachable(ApiError):  # noqa: N818 (a state of the world)
    """No answer: the server is away, overloaded or too slow. Trying again is right."""


class NotFound(ApiError):  # noqa: N818
    """404."""


class Conflict(ApiError):  # noqa: N818
    """409: the name is taken, or what was read is not the newest."""


class Forbidden(ApiError):  # noqa: N818
    """403: a missing right, a quota or an admission plugin."""

    @property
    def is_quota(self) -> bool:
        """Say whether a ResourceQuota or LimitRange refused, which others can free."""
        return "exceeded quota" in str(self) or "failed quota" in str(self)

    @property
    def is_missing_right(self) -> bool:
        """Say whether the operator's own ServiceAccount lacks the right."""
        return "cannot " in str(self) and "User " in str(self)


class Invalid(ApiError):  # noqa: N818
    """400 or 422: the object itself is wrong, and will be the next time."""


_KINDS = {400: Invalid, 403: Forbidden, 404: NotFound, 409: Conflict, 422: Invalid, 429: Unreachable}


def api_error(status: int, body: str, fallback: str) -> ApiError:
    """Return the error for an answer, with the server's own sentence."""
    said: Any = None
    if body:
        try:
            said = json.loads(body)
        except ValueError:
            said = None
    told = said if isinstance(said, dict) else {}
    message = str(told.get("message") or fallback or f"HTTP {status}")
    kind = _KINDS.get(status, Unreachable if status >= 500 else ApiError)  # noqa: PLR2004 (server errors pass)
    return kind(status, message, reason=str(told.get("reason", "")))

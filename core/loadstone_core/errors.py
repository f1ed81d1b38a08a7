"""The one tree of errors: the user's fault, the world's fault, ours.

Whoever catches an error decides by family; no error carries advice on retries, exit codes or log levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class LoadstoneError(Exception):
    """Anything that this project raises on purpose."""


class UserError(LoadstoneError):
    """The user can repair it: a wrong field, a missing file, a bad expression."""


class WorldError(LoadstoneError):
    """The surroundings failed: an API server, a node, a network, a full disk."""


class InternalError(LoadstoneError):
    """We broke a promise of our own; a report of it is a bug report."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document, and where.

    Attributes:
        path: where, as the user would say it: `spec.load.stages[1].users`. Never empty.
        message: one sentence that says what is wrong and what to write instead.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return `path: message`."""
        return f"{self.path}: {self.message}"


class SpecInvalidError(UserError):
    """A document is no valid LoadTest; `problems` lists everything that is wrong with it, in document order."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

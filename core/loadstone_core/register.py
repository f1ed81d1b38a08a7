"""Decide what a register does with an offered configuration: newer wins, and one version never means two things.

What the configuration says, and how it travels, is known elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Which configuration is newer: the epoch of the master that made it first, then its revision, from 1."""

    epoch: int
    revision: int


@dataclass(frozen=True, slots=True)
class Held:
    """A configuration by what identifies it: its version and the digest of its content."""

    version: Version
    digest: str


class Weighed(StrEnum):
    """What to do with an offered configuration."""

    ADOPT = "adopt"
    CONFIRM = "confirm"
    CONFLICT = "conflict"
    STALE = "stale"
    INVALID = "invalid"


def weigh(held: Held | None, offered: Held) -> Weighed:
    """Return what the holder of `held` (None: of nothing yet) does with `offered`.

    Newer is adopted, equal with an equal digest confirmed, equal with another digest a conflict to report, older is
    answered with what is held. A revision below 1 never travels, so it is invalid whatever is held.
    """
    if offered.version.revision < 1:
        return Weighed.INVALID
    if held is None or offered.version > held.version:
        return Weighed.ADOPT
    if offered.version < held.version:
        return Weighed.STALE
    return Weighed.CONFIRM if offered.digest == held.digest else Weighed.CONFLICT

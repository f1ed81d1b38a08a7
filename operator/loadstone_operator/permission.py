"""Hold what others say of whether a run may be: its class, its script, the limits of the installation. Values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class ClassView:
    """What is known of a LoadTest's class.

    Attributes:
        name: empty when it belongs to none.
        is_killed: the kill switch is on.
        missing: what to do about a class that the LoadTest names and that is not there; empty if it is.
        seconds_missing: for how long it was missed.
    """

    name: str = ""
    is_killed: bool = False
    missing: str = ""
    seconds_missing: float = 0.0


NO_CLASS: Final = ClassView()


class SourceState(StrEnum):
    """Whether the script is at hand."""

    UNKNOWN = "Unknown"
    FOUND = "Found"
    MISSING = "Missing"


@dataclass(frozen=True, slots=True)
class SourceView:
    """What is known of the script, and for how long it has been missing."""

    state: SourceState = SourceState.FOUND
    message: str = ""
    seconds_missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the operator's limits say to a start: `refused` for ever, `waiting` for now, or neither."""

    refused: str = ""
    waiting: str = ""

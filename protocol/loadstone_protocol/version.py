"""Which versions of the protocol may talk to each other. Nothing is sent or parsed here."""

from __future__ import annotations

from typing import Final

from loadstone_core import __version__

PROTOCOL_MAJOR: Final = 1
PROTOCOL_MINOR: Final = 0
RELEASE_MAX: Final = 64  # characters of a release that a peer names


def may_talk(major: int, minor: int, release: str = "") -> str | None:
    """Return None if a peer of version `major.minor` is understood, else one sentence that says what to do.

    A minor version only adds fields, and fields that are not known are skipped, so any minor will do: peers of other
    releases work together as long as their major version is the same. A peer that names no version is of the first.
    """
    if major in {0, PROTOCOL_MAJOR}:
        return None
    return (
        f"the peer is {_named(release[:RELEASE_MAX])} and speaks protocol {major}.{minor}, this side is "
        f"{_named(__version__)} and speaks {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}; use the same release for the operator "
        "and for spec.image, from which master and workers come"
    )


def _named(release: str) -> str:
    return f"Loadstone {release}" if release else "another Loadstone"

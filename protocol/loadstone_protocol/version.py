"""Which versions of the protocol may talk to each other. Nothing is sent or parsed here."""

from __future__ import annotations

from typing import Final

PROTOCOL_MAJOR: Final = 1
PROTOCOL_MINOR: Final = 0


def may_talk(major: int, minor: int) -> str | None:
    """Return None if a peer of version `major.minor` is understood, else one sentence that says what to do.

    A minor version only adds fields, and fields that are not known are skipped, so any minor will do.
    """
    if major == PROTOCOL_MAJOR:
        return None
    return (
        f"the peer speaks protocol {major}.{minor}, this side {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}; "
        "use the same Loadstone version for operator, master and workers"
    )

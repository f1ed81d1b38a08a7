"""Who a peer is: the name in its certificate, and what it shows. Nothing is signed, opened or refused here.

A certificate names the run that it was made for, the role in it and, of a worker, its index, as a URI:
`loadstone://<LoadTest's UID>/<run>/worker/<index>`. A server reads it of its clients. A client of gRPC cannot read the
certificate of its server, only demand a host name in it; so a master's certificate has one that no other run's has.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final, NamedTuple

# How the files are called that a process shows and checks others with.
AUTHORITY_FILE: Final = "ca.crt"
CERTIFICATE_FILE: Final = "tls.crt"
KEY_FILE: Final = "tls.key"

_SCHEME: Final = "loadstone://"


class Role(StrEnum):
    """What a process is in a run."""

    MASTER = "master"
    WORKER = "worker"
    OPERATOR = "operator"


class Identity(NamedTuple):
    """One process of one run; only a worker has an index."""

    run_uid: str
    role: Role
    worker: int | None = None

    @property
    def uri(self) -> str:
        """Return the name as it stands in a certificate."""
        index = "" if self.worker is None else f"/{self.worker}"
        return f"{_SCHEME}{self.run_uid}/{self.role}{index}"

    def __str__(self) -> str:
        """Return the name for people."""
        who = self.role if self.worker is None else f"{self.role} {self.worker}"
        return f"{who} of run {self.run_uid}"


class Pems(NamedTuple):
    """What a process needs to show who it is and to check others, as PEM."""

    authority: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Return nothing of what is inside: this may end up in a log."""
        return "Pems(...)"


def parse(uri: str) -> Identity | None:
    """Return who a URI names, or None if it is nobody of a run."""
    path = uri.removeprefix(_SCHEME)
    for role in Role:
        run_uid, found, index = path.rpartition(f"/{role}")
        if not found or path == uri:
            continue
        worker = int(index[1:]) if index[1:].isascii() and index[1:].isdigit() else None
        identity = Identity(run_uid, role, worker)
        # Only what is written as it is read is a name: one process has one.
        if run_uid and identity.uri == uri and (worker is not None) is (role is Role.WORKER):
            return identity
    return None


def server_name(run_uid: str) -> str:
    """Return the host name of a run's master: in its certificate, and in what its clients demand of it.

    A DNS label is too short for a run's UID, and must not hold its slash.
    """
    return f"{hashlib.sha256(run_uid.encode()).hexdigest()[:40]}.master.loadstone"

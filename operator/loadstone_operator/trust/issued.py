"""The certificates of one run, as values. Nothing is signed here: it costs 10 MiB to import what can."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its private key, PEM; the key is in no text that is made of this."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunCredentials:
    """What the processes of one run show each other.

    Attributes:
        authority: the id of who signed.
        authority_pem: its certificate, which everybody in the run trusts, and nothing else.
        workers: by index.
    """

    authority: str
    authority_pem: bytes
    master: Signed
    workers: tuple[Signed, ...]

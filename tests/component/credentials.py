"""Certificates for the processes under test, signed by the operator's own code. No test is here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadstone_operator.trust.authority import Authority, make_authority
from loadstone_protocol.identity import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE, Identity, Pems, Role

if TYPE_CHECKING:
    from pathlib import Path


def authority() -> Authority:
    return make_authority(time.time_ns())


def pems(signer: Authority, identity: Identity) -> Pems:
    signed = signer.sign(identity, time.time_ns())
    return Pems(signer.certificate_pem, signed.certificate, signed.key)


def worker(signer: Authority, run_uid: str, index: int) -> Pems:
    return pems(signer, Identity(run_uid, Role.WORKER, index))


def master(signer: Authority, run_uid: str) -> Pems:
    return pems(signer, Identity(run_uid, Role.MASTER))


def operator(signer: Authority, run_uid: str) -> Pems:
    return signer.sign_operator(run_uid, time.time_ns())


def mounted(folder: Path, own: Pems) -> str:
    """Lay files out as a pod has them; return where."""
    folder.mkdir()
    for name, content in zip((AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE), own, strict=True):
        (folder / name).write_bytes(content)
    return str(folder)

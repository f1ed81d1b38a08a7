"""Be one certificate authority: make it, read it, sign with it. Import this late: it brings OpenSSL along.

A certificate says who its owner is in one run and what it may be used for, so that a master's is no client's and a
worker's no master's. Keys are of curve P-256: to make one and sign its certificate takes 0.15 ms.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from loadstone_operator.trust.issued import RunCredentials, Signed
from loadstone_protocol.identity import Identity, Pems, Role, server_name

AUTHORITY_DAYS: Final = 365
# No run lasts longer; a key that was stolen is of use as long as the run has a master, and not a moment more.
LEAF_DAYS: Final = 90
# An authority signs nothing that would outlive it, and its successor is there a month before that would begin.
RENEW_DAYS: Final = LEAF_DAYS + 30

# Nodes whose clocks are behind must take a certificate that was made a moment ago.
_BACKDATED: Final = timedelta(hours=1)
_CURVE: Final = ec.SECP256R1()
_HASH: Final = hashes.SHA256()
_NANOS: Final = 1_000_000_000


class AuthorityInvalid(ValueError):  # noqa: N818 (what somebody has made of a Secret)
    """What was read is no authority of ours."""


class Authority:
    """One authority. Two are equal when their keys are."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self.id = _id(key)

    @property
    def certificate_pem(self) -> bytes:
        """Return the certificate, for those who are to trust it."""
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def signed(self) -> Signed:
        """Return certificate and key, for the one place where they are kept."""
        return Signed(self.certificate_pem, _private_pem(self._key))

    @property
    def begins(self) -> datetime:
        """Return from when on it is valid."""
        return self._certificate.not_valid_before_utc

    def days_old(self, now_ns: int) -> float:
        """Return for how many days it has been valid; negative when its time has not come."""
        return (_instant(now_ns) - self.begins) / timedelta(days=1)

    def days_left(self, now_ns: int) -> float:
        """Return for how many days it will be valid; negative when it has ended."""
        return (self._certificate.not_valid_after_utc - _instant(now_ns)) / timedelta(days=1)

    def sign_run(self, run_uid: str, workers: int, now_ns: int) -> RunCredentials:
        """Return new certificates for the master and each worker of a run."""
        return RunCredentials(
            authority=self.id,
            authority_pem=self.certificate_pem,
            master=self.sign(Identity(run_uid, Role.MASTER), now_ns),
            workers=tuple(self.sign(Identity(run_uid, Role.WORKER, index), now_ns) for index in range(workers)),
        )

    def sign_worker(self, run_uid: str, worker: int, now_ns: int) -> Pems:
        """Return what the agent of one worker shows that was added to a run, new."""
        own = self.sign(Identity(run_uid, Role.WORKER, worker), now_ns)
        return Pems(self.certificate_pem, own.certificate, own.key)

    def sign_operator(self, run_uid: str, now_ns: int) -> Pems:
        """Return what the operator shows the master of a run, new."""
        own = self.sign(Identity(run_uid, Role.OPERATOR), now_ns)
        return Pems(self.certificate_pem, own.certificate, own.key)

    def sign(self, identity: Identity, now_ns: int) -> Signed:
        """Return a new certificate for one process."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        if identity.role is Role.MASTER:
            names.append(x509.DNSName(server_name(identity.run_uid)))
            usage = ExtendedKeyUsageOID.SERVER_AUTH
        key = ec.generate_private_key(_CURVE)
        certificate = (
            _builder(x509.Name([]), self._certificate.subject, key, now_ns=now_ns, days=LEAF_DAYS)
            # Critical, as there is no other name.
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, _HASH)
        )
        return Signed(certificate.public_bytes(Encoding.PEM), _private_pem(key))


def make_authority(now_ns: int) -> Authority:
    """Return a new authority, with a new key."""
    key = ec.generate_private_key(_CURVE)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"loadstone authority {_id(key)}")])
    certificate = (
        _builder(name, name, key, now_ns=now_ns, days=AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, _HASH)
    )
    return Authority(certificate, key)


def read_authority(certificate_pem: bytes, key_pem: bytes) -> Authority:
    """Return the authority that was kept.

    Raises:
        AuthorityInvalid: it is none, or certificate and key do not belong together.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        # What the library says may quote what it could not read.
        raise AuthorityInvalid("certificate or key of an authority cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise AuthorityInvalid("certificate and key of an authority do not belong together")
    return Authority(certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, now_ns: int, days: int
) -> x509.CertificateBuilder:
    now = _instant(now_ns)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _id(key: ec.EllipticCurvePrivateKey) -> str:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()[:12]


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _instant(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / _NANOS, tz=UTC)

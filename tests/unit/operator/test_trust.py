"""What the operator signs says who, for which run, as what and until when; its authorities outlive what they sign."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from loadstone_core.clock import ManualClock
from loadstone_core.verdict.outcome import Reason
from loadstone_operator.cluster.authorities import Authorities, AuthorityUnusable
from loadstone_operator.cluster.cluster import creation_problem
from loadstone_operator.cluster.errors import Conflict, NotFound
from loadstone_operator.trust.authority import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    RENEW_DAYS,
    AuthorityInvalid,
    make_authority,
    read_authority,
)
from loadstone_operator.trust.issued import Signed
from loadstone_operator.trust.keyring import Keyring, read_keyring
from loadstone_protocol.identity import Identity, Role, parse, server_name

NOW_NS = 1_800_000_000 * 10**9
NOW = datetime.fromtimestamp(NOW_NS / 10**9, tz=UTC)
DAY_NS = 24 * 3600 * 10**9
RUN = "0a1b/3"
promise = pytest.mark.promise


def read(signed: Signed) -> x509.Certificate:
    return x509.load_pem_x509_certificate(signed.certificate)


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def usages(certificate: x509.Certificate) -> set[Any]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


@promise("mutual-tls")
@pytest.mark.parametrize(
    "identity", [Identity(RUN, Role.MASTER), Identity(RUN, Role.WORKER, 7), Identity(RUN, Role.OPERATOR)]
)
def test_a_certificate_names_its_process_and_what_it_is_for(identity: Identity) -> None:
    signer = make_authority(NOW_NS)
    certificate = read(signer.sign(identity, NOW_NS))
    is_master = identity.role is Role.MASTER

    (uri,) = names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert parse(uri) == identity
    assert names(certificate).get_values_for_type(x509.DNSName) == ([server_name(RUN)] if is_master else [])
    assert usages(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH if is_master else ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(signer.certificate_pem))
    with pytest.raises((InvalidSignature, ValueError)):
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(make_authority(NOW_NS).certificate_pem))


@promise("mutual-tls")
def test_a_certificate_is_valid_at_once_for_clocks_that_are_behind_and_ends_with_its_days() -> None:
    certificate = read(make_authority(NOW_NS).sign(Identity(RUN, Role.MASTER), NOW_NS))

    assert certificate.not_valid_before_utc <= NOW - timedelta(minutes=30)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=LEAF_DAYS)


def test_a_run_gets_a_certificate_for_its_master_and_one_for_each_worker_and_no_key_twice() -> None:
    made = make_authority(NOW_NS).sign_run(RUN, 3, NOW_NS)

    assert [
        parse(names(read(each)).get_values_for_type(x509.UniformResourceIdentifier)[0]) for each in made.workers
    ] == [Identity(RUN, Role.WORKER, index) for index in range(3)]
    assert len({made.master.key, *(each.key for each in made.workers)}) == 4
    assert "PRIVATE" not in repr(made)


# Authorities over the years


def test_an_authority_signs_nothing_that_outlives_it() -> None:
    keyring = Keyring().renewed(NOW_NS)
    for day in range(0, 3 * AUTHORITY_DAYS, 7):
        now_ns = NOW_NS + day * DAY_NS
        keyring = keyring.renewed(now_ns)
        assert keyring.newest.days_left(now_ns) >= LEAF_DAYS


def test_who_has_signed_for_a_run_is_held_until_what_it_signed_has_ended() -> None:
    keyring = Keyring().renewed(NOW_NS)
    first = keyring.newest
    last_day = AUTHORITY_DAYS - RENEW_DAYS
    keyring = keyring.renewed(NOW_NS + last_day * DAY_NS)
    assert keyring.newest is first
    for day in range(last_day + 1, last_day + LEAF_DAYS):
        keyring = keyring.renewed(NOW_NS + day * DAY_NS)
        assert keyring.find(first.id) is first
        assert keyring.newest is not first
    assert keyring.renewed(NOW_NS + (AUTHORITY_DAYS + 1) * DAY_NS).find(first.id) is None


def test_a_keyring_that_is_as_it_should_be_stays_the_same() -> None:
    keyring = Keyring().renewed(NOW_NS)

    assert keyring.renewed(NOW_NS + DAY_NS) is keyring


def test_what_a_secret_holds_of_authorities_is_read_as_they_were() -> None:
    keyring = Keyring((make_authority(NOW_NS), make_authority(NOW_NS + DAY_NS)))
    again = read_keyring(keyring.to_data())

    assert [each.id for each in again.authorities] == [each.id for each in keyring.authorities]
    assert [each.signed for each in again.authorities] == [each.signed for each in keyring.authorities]
    assert read_keyring({}) == Keyring()


def test_what_is_no_authority_is_refused_without_being_quoted() -> None:
    one, other = make_authority(NOW_NS).signed, make_authority(NOW_NS).signed
    for certificate, key in ((one.certificate, other.key), (one.certificate, b"secret"), (b"x", one.key)):
        with pytest.raises(AuthorityInvalid) as refused:
            read_authority(certificate, key)
        assert "secret" not in str(refused.value)
    with pytest.raises(AuthorityInvalid):
        read_keyring({"a.crt": b64encode(one.certificate).decode()})


# The Secret


class MemorySecrets:
    """The API server's end of one Secret."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.version = 0
        self.calls: list[str] = []
        self.before_write: Authorities | None = None

    async def get(self, *_: Any) -> dict[str, Any]:
        self.calls.append("get")
        if self.held is None:
            raise NotFound(404, "no secret")
        return json.loads(json.dumps(self.held))

    async def create(self, _kind: Any, _namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append("create")
        await self._let_another_be_first()
        if self.held is not None:
            raise Conflict(409, "exists")
        return self._keep(body)

    async def replace(self, _kind: Any, _namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append("replace")
        await self._let_another_be_first()
        if self.held is None or body["metadata"]["resourceVersion"] != self.held["metadata"]["resourceVersion"]:
            raise Conflict(409, "changed")
        return self._keep(body)

    async def _let_another_be_first(self) -> None:
        other, self.before_write = self.before_write, None
        if other is not None:
            await other.sign_run(RUN, 1)

    def _keep(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.held = json.loads(json.dumps({**body, "metadata": metadata}))
        return dict(self.held)


def authorities(secrets: MemorySecrets, clock: ManualClock) -> Authorities:
    return Authorities(secrets, clock, namespace="ops", name="authority")  # type: ignore[arg-type]  # what is asked of an Api


def test_an_operator_reads_its_authority_once_and_a_restarted_one_signs_by_the_same() -> None:
    async def story() -> None:
        secrets, clock = MemorySecrets(), ManualClock(wall=NOW_NS)
        first = authorities(secrets, clock)
        made = await first.sign_run(RUN, 2)
        await first.sign_run("0a1b/4", 2)
        assert secrets.calls == ["get", "create"]
        again = authorities(secrets, clock)
        assert (await again.sign_run("0a1b/5", 1)).authority == made.authority
        own = await again.sign_operator(RUN, authority=made.authority)
        assert own.authority == made.authority_pem

    asyncio.run(story())


@pytest.mark.parametrize("days", [0, AUTHORITY_DAYS - RENEW_DAYS + 1], ids=["the first", "a renewed one"])
def test_of_two_operators_one_makes_an_authority_and_both_sign_by_it(days: int) -> None:
    async def story() -> None:
        secrets, clock = MemorySecrets(), ManualClock(wall=NOW_NS)
        if days:
            await authorities(secrets, clock).sign_run(RUN, 1)
            clock.wall += days * DAY_NS
        one, other = authorities(secrets, clock), authorities(secrets, clock)
        secrets.before_write = other
        mine = await one.sign_run(RUN, 1)
        assert mine.authority == (await other.sign_run(RUN, 1)).authority
        assert len(read_keyring((secrets.held or {})["data"]).authorities) == (2 if days else 1)

    asyncio.run(story())


@promise("mutual-tls")
def test_a_run_that_began_under_an_older_authority_goes_on_under_it() -> None:
    async def story() -> None:
        secrets, clock = MemorySecrets(), ManualClock(wall=NOW_NS)
        trust = authorities(secrets, clock)
        old = await trust.sign_run(RUN, 1)
        clock.wall += (AUTHORITY_DAYS - RENEW_DAYS + 1) * DAY_NS
        new = await trust.sign_run("0a1b/4", 1)
        assert new.authority != old.authority
        for each in (trust, authorities(secrets, clock)):
            assert (await each.sign_operator(RUN, authority=old.authority)).authority == old.authority_pem
            assert (await each.sign_run(RUN, 1, authority=old.authority)).authority == old.authority

    asyncio.run(story())


def test_an_authority_that_another_operator_has_made_is_found() -> None:
    async def story() -> None:
        secrets, clock = MemorySecrets(), ManualClock(wall=NOW_NS)
        mine = authorities(secrets, clock)
        await mine.sign_run(RUN, 1)
        clock.wall += (AUTHORITY_DAYS - RENEW_DAYS + 1) * DAY_NS
        theirs = await authorities(secrets, clock).sign_run(RUN, 1)
        clock.wall -= DAY_NS * 2
        assert (await mine.sign_operator(RUN, authority=theirs.authority)).authority == theirs.authority_pem

    asyncio.run(story())


def test_a_secret_that_is_of_no_use_is_named_with_what_to_do() -> None:
    async def story() -> None:
        secrets, clock = MemorySecrets(), ManualClock(wall=NOW_NS)
        gone = make_authority(NOW_NS).id
        with pytest.raises(AuthorityUnusable, match=f"{gone}.*ops/authority.*put the Secret back"):
            await authorities(secrets, clock).sign_operator(RUN, authority=gone)
        secrets.held = {"metadata": {"resourceVersion": "1"}, "data": {"a.crt": "eA==", "a.key": "eA=="}}
        with pytest.raises(AuthorityUnusable, match="delete it") as refused:
            await authorities(secrets, clock).sign_run(RUN, 1)
        problem = creation_problem(refused.value)
        assert (problem.reason, problem.is_fatal, problem.shown) == (Reason.OPERATOR_ERROR, False, "AuthorityUnusable")

    asyncio.run(story())


def test_two_authorities_are_told_apart_by_their_keys() -> None:
    one = make_authority(NOW_NS)
    signed = one.signed

    assert read_authority(signed.certificate, signed.key).id == one.id != make_authority(NOW_NS).id

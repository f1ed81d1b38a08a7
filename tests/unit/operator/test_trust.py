"""What the operator signs says who, for which run, as what and until when; its authorities outlive what they sign."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from loadstone_core.admission import admit
from loadstone_core.clock import ManualClock
from loadstone_core.verdict.outcome import Reason
from loadstone_operator import naming
from loadstone_operator.cluster.api import Kind
from loadstone_operator.cluster.authorities import Authorities, AuthorityUnusable
from loadstone_operator.cluster.cluster import KubernetesCluster, creation_problem
from loadstone_operator.cluster.errors import Conflict, NotFound
from loadstone_operator.manifests import objects
from loadstone_operator.manifests.order import RunnerDefaults, RunOrder, make_order
from loadstone_operator.ports import CreationFailed
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


@promise("mutual-tls", "live-replicas")
def test_a_worker_that_is_added_to_a_run_gets_a_certificate_of_its_own_by_the_authority_of_the_run() -> None:
    signer = make_authority(NOW_NS)
    pems = signer.sign_worker(RUN, 7, NOW_NS)
    certificate = x509.load_pem_x509_certificate(pems.certificate)

    (uri,) = names(certificate).get_values_for_type(x509.UniformResourceIdentifier)
    assert parse(uri) == Identity(RUN, Role.WORKER, 7)
    assert pems.authority == signer.certificate_pem
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pems.authority))


# Authorities over the years


def test_an_authority_signs_nothing_that_outlives_it() -> None:
    keyring = Keyring().renewed(NOW_NS)
    for day in range(0, 3 * AUTHORITY_DAYS, 7):
        now_ns = NOW_NS + day * DAY_NS
        keyring = keyring.renewed(now_ns)
        assert keyring.newest(now_ns).days_left(now_ns) >= LEAF_DAYS


def test_who_has_signed_for_a_run_is_held_until_what_it_signed_has_ended() -> None:
    keyring = Keyring().renewed(NOW_NS)
    first = keyring.newest(NOW_NS)
    last_day = AUTHORITY_DAYS - RENEW_DAYS
    keyring = keyring.renewed(NOW_NS + last_day * DAY_NS)
    assert keyring.newest(NOW_NS + last_day * DAY_NS) is first
    for day in range(last_day + 1, last_day + LEAF_DAYS):
        keyring = keyring.renewed(NOW_NS + day * DAY_NS)
        assert keyring.find(first.id) is first
        assert keyring.newest(NOW_NS + day * DAY_NS) is not first
    assert keyring.renewed(NOW_NS + (AUTHORITY_DAYS + 1) * DAY_NS).find(first.id) is None


@promise("mutual-tls")
@pytest.mark.parametrize("began", [0, 300])
@pytest.mark.parametrize("days", [2, 400, 4000, -2, -4000])
def test_a_clock_that_was_wrong_for_a_moment_spoils_no_run_afterwards(days: int, began: int) -> None:
    keyring = Keyring().renewed(NOW_NS)
    now_ns = NOW_NS + began * DAY_NS
    keyring = keyring.renewed(now_ns)
    before = keyring.authorities
    wrong_ns = now_ns + days * DAY_NS
    keyring = keyring.renewed(wrong_ns)
    assert keyring.renewed(wrong_ns) is keyring
    assert keyring.newest(wrong_ns).days_old(wrong_ns) >= 0

    for later in (*range(0, 60, 7), *range(60, 2 * AUTHORITY_DAYS, 30)):
        later_ns = now_ns + later * DAY_NS
        keyring = keyring.renewed(later_ns)
        signer = keyring.newest(later_ns)
        assert signer.days_old(later_ns) >= 0, "nobody takes what it signs for valid"
        assert signer.days_left(later_ns) >= LEAF_DAYS
        # Whoever has signed for a run that goes on is still there.
        assert all(keyring.find(each.id) for each in before if each.days_left(later_ns) > 0)


def test_an_authority_that_ended_while_nobody_asked_is_given_up_once_its_successor_has_settled() -> None:
    keyring = Keyring().renewed(NOW_NS)
    first = keyring.newest(NOW_NS)
    late_ns = NOW_NS + 2 * AUTHORITY_DAYS * DAY_NS
    keyring = keyring.renewed(late_ns)
    assert keyring.newest(late_ns) is not first
    assert keyring.renewed(late_ns + (LEAF_DAYS - 1) * DAY_NS).find(first.id) is first
    assert keyring.renewed(late_ns + LEAF_DAYS * DAY_NS).find(first.id) is None


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
            assert (await each.sign_worker(RUN, 1, authority=old.authority)).authority == old.authority_pem

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


# Workers that are added to a run


class MemoryApi:
    """The API server's end of what a run's objects are made with: it takes each name once."""

    def __init__(self) -> None:
        self.made: dict[str, Mapping[str, Any]] = {}
        self.calls: list[str] = []

    async def create(self, kind: Kind, _namespace: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        name = body["metadata"]["name"]
        self.calls.append(f"{kind.name} {name}")
        if name in self.made:
            raise Conflict(409, "exists")
        self.made[name] = body
        return body

    async def list(self, _kind: Kind, _namespace: str, *, labels: str) -> list[Mapping[str, Any]]:
        assert labels
        return list(self.made.values())


def run_order() -> RunOrder:
    spec = {"source": {"inline": {"content": "pass"}}, "load": {"users": 4, "duration": "5s"}}
    loadtest = admit(
        {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1"},
            "spec": {**spec, "workers": {"replicas": 2}},
        }
    )
    return make_order(loadtest, uid="uid-1", run=1, epoch=1, files={}, runner=RunnerDefaults("r:1"))


def cluster_of(api: MemoryApi, trust: Authorities, clock: ManualClock) -> KubernetesCluster:
    return KubernetesCluster(api, clock, trust, namespaces=(), instance="pod")  # type: ignore[arg-type]  # what is asked of an Api


@promise("mutual-tls", "live-replicas")
def test_an_added_workers_certificate_is_there_before_its_pod_and_made_once_by_the_authority_of_its_run() -> None:
    async def story() -> None:
        secrets, clock, api = MemorySecrets(), ManualClock(wall=NOW_NS), MemoryApi()
        trust = authorities(secrets, clock)
        signer = (await trust.sign_run(RUN, 1)).authority
        clock.wall += (AUTHORITY_DAYS - RENEW_DAYS + 1) * DAY_NS
        order = run_order().signed_by(signer)
        own = objects.tls_secret_name(order, worker=2)

        pods = await cluster_of(api, trust, clock).make_workers(order, [(1, 2), (2, 1)])
        assert api.calls == ["Pod checkout-w-1-1-2", f"Secret {own}", "Pod checkout-w-1-2-1"]
        assert [each["metadata"]["labels"][naming.LABEL_AUTHORITY] for each in pods] == [signer] * 2
        first = dict(api.made[own])
        # Another operator, and another attempt: what it shows is in that Secret, whoever made it.
        await cluster_of(api, authorities(secrets, clock), clock).make_workers(order, [(2, 2)])
        assert api.made[own] == first
        assert "checkout-w-1-2-2" in api.made
        # The authority of the run, and not the newest, has signed.
        held = x509.load_pem_x509_certificate(b64decode(first["data"]["worker-2.crt"]))
        held.verify_directly_issued_by(x509.load_pem_x509_certificate(b64decode(first["data"]["ca.crt"])))
        assert b64decode(first["data"]["ca.crt"]) == (await trust.sign_operator(RUN, authority=signer)).authority

    asyncio.run(story())


def test_an_added_worker_of_a_run_without_tls_needs_no_certificate_and_one_of_a_lost_authority_is_not_made() -> None:
    async def story() -> None:
        secrets, clock, api = MemorySecrets(), ManualClock(wall=NOW_NS), MemoryApi()
        cluster = cluster_of(api, authorities(secrets, clock), clock)
        await cluster.make_workers(run_order().signed_by(""), [(2, 1)])
        assert api.calls == ["Pod checkout-w-1-2-1"]

        gone = run_order().signed_by(make_authority(NOW_NS).id)
        with pytest.raises(CreationFailed, match="put the Secret back"):
            await cluster.make_workers(gone, [(3, 1)])
        assert "checkout-w-1-3-1" not in api.made

    asyncio.run(story())


def test_two_authorities_are_told_apart_by_their_keys() -> None:
    one = make_authority(NOW_NS)
    signed = one.signed

    assert read_authority(signed.certificate, signed.key).id == one.id != make_authority(NOW_NS).id

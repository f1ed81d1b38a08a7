"""How the HTTP client connects: TLS, names, proxies, sockets. Real sockets on loopback; servers in `hostile`."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from tests.component.hostile import CLOSING, OK, Authority, Peer, Server, always, once, server_context

from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.http.outfit import Outfit, prepare
from loadstone_runner.engine.http.profile import DnsPolicy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Path:
    return authority.issue("good", "IP:127.0.0.1,DNS:shop.test")


def test_each_fault_of_a_certificate_has_a_sentence_of_its_own(bench, serve, authority, tmp_path) -> None:
    ca = str(authority.certificate)
    other = Authority(tmp_path, "other")
    table = [
        (authority.issue("old", "IP:127.0.0.1", until="20200102"), "the certificate has expired"),
        (authority.issue("young", "IP:127.0.0.1", since="20980101"), "the certificate is not valid yet"),
        (authority.issue("foreign", "IP:127.0.0.2"), "another address: it is not valid for '127.0.0.1'"),
        (other.issue("unknown", "IP:127.0.0.1"), "the certificate's authority is unknown"),
    ]
    for certificate, sentence in table:
        before = set(bench.sentences)
        server = serve(always(OK), server_context(certificate))
        reply = bench.client(server.url, verify=ca).get("/")

        assert reply.error == "certificate"
        (new,) = set(bench.sentences) - before
        assert sentence in new
        assert server.requests == []

    server = serve(always(OK), server_context(authority.issue("named", "DNS:other.test")))
    client = bench.client(f"https://shop.test:{server.port}", verify=ca, hosts={"shop.test": "127.0.0.1"})
    assert client.get("/").error == "certificate"
    assert any("for another host: it is not valid for 'shop.test'" in each for each in bench.sentences)
    assert bench.counters == Counters(started=5, completed=5, unsent=5)


def test_a_pinned_name_a_given_server_name_and_a_trusted_file_reach_a_server_by_address(
    bench, serve, authority, good
) -> None:
    seen: list[str | None] = []
    context = server_context(good)
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    server = serve(always(OK), context)
    ca = str(authority.certificate)

    pinned = bench.client(f"https://shop.test:{server.port}", verify=ca, hosts={"Shop.test": "127.0.0.1"})
    named = bench.client(server.url, verify=ca, server_name="shop.test")

    assert [pinned.get("/").error, named.get("/").error] == [None, None]
    assert seen == ["shop.test", "shop.test"]
    assert bench.resolver.lookups == 1


def test_a_server_that_wants_a_certificate_gets_it(bench, serve, authority, good) -> None:
    context = server_context(good)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    server = serve(lambda peer, _number: always(OK)(peer, 0), context)
    mine = str(authority.issue("client", "DNS:client.test"))

    assert bench.client(server.url, verify=False, client_certificate=mine).get("/").ok
    # With TLS 1.3 the server says so only after the client has begun, and its reset may overtake the reason.
    assert bench.client(server.url, verify=False, tls_maximum="1.2").get("/").error == "tls"


def test_a_certificate_file_that_cannot_be_used_is_a_failure_with_its_path(bench) -> None:
    client = bench.client("https://127.0.0.1:1", verify="/nowhere/ca.pem", hosts={"x": "127.0.0.1"})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        assert client.get(url).error == "tls"
        assert bench.client("", client_certificate="/nowhere/me.pem").get(url).error == "tls"
        assert bench.client("", ciphers="NOTHING").get(url).error == "tls"

    assert sorted(bench.sentences) == [
        "OpenSSL knows no cipher of 'NOTHING'",
        "cannot use the certificates in /nowhere/ca.pem: No such file or directory",
        "cannot use the client certificate in /nowhere/me.pem: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("options", "version", "cipher"),
    [
        ({"tls_maximum": "1.2"}, "TLSv1.2", None),
        ({"tls_minimum": "1.3"}, "TLSv1.3", None),
        (
            {"tls_maximum": "1.2", "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
            "TLSv1.2",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ],
)
def test_versions_and_ciphers_are_those_of_the_options(bench, serve, good, options, version, cipher) -> None:
    seen: list[tuple[str, str]] = []

    def behave(peer: Peer, _number: int) -> None:
        seen.append((peer.connection.version(), peer.connection.cipher()[0]))
        once(CLOSING)(peer, 0)

    server = serve(behave, server_context(good))

    assert bench.client(server.url, verify=False, **options).get("/").ok
    assert seen[0][0] == version
    assert cipher in (None, seen[0][1])


def test_a_version_that_the_server_refuses_is_a_tls_failure(bench, serve, good) -> None:
    context = server_context(good)
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    assert bench.client(serve(always(OK), context).url, verify=False, tls_minimum="1.3").get("/").error == "tls"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("resumption", "full", "resumed"), [("user", 2, 4), ("engine", 1, 5), ("off", 6, 0)])
def test_full_and_resumed_handshakes_are_counted_apart(  # noqa: PLR0913, PLR0917 a table's columns and fixtures
    bench, serve, authority, good, version, resumption, full, resumed
) -> None:
    server = serve(once(CLOSING), server_context(good))
    options = {"tls_maximum": version, "tls_resumption": resumption, "verify": str(authority.certificate)}
    # Of its own, so that no other test's sessions are remembered.
    options["server_name"] = "shop.test" if resumption == "engine" else None
    clients = [bench.client(server.url, **options) for _ in range(2)]

    for _ in range(3):
        for each in clients:
            assert each.get("/").error is None
            gevent.sleep(0.03)

    counts = bench.counts()
    assert (counts.get("tls", 0), counts.get("tls_resumed", 0)) == (full, resumed)
    assert server.connections == 6


def test_a_handshake_has_a_timeout_of_its_own(bench, serve) -> None:
    silent = serve(lambda _peer, _number: time.sleep(3))
    begin = time.monotonic()

    reply = bench.client(f"https://127.0.0.1:{silent.port}", tls_timeout=0.2).get("/")

    assert reply.error == "tls timeout"
    assert time.monotonic() - begin < 2
    assert bench.counters == Counters(started=1, completed=1, unsent=1)


def test_sockets_are_set_up_as_asked(bench, serve) -> None:
    server = serve(always(OK))
    client = bench.client(
        server.url,
        no_delay=False, send_buffer=20_000, receive_buffer=30_000, keepalive_seconds=7, linger_seconds=0,
    )  # fmt: skip
    link = client._dialer.connect(client._dialer.resolver and _origin(server), time.monotonic_ns() + 10**9)
    plain = bench.client(server.url)._dialer.connect(_origin(server), time.monotonic_ns() + 10**9)

    def read(sock: socket.socket, level: int, name: int) -> int:
        return sock.getsockopt(level, name)

    assert read(link.wire.socket, socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    assert read(plain.wire.socket, socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert read(link.wire.socket, socket.SOL_SOCKET, socket.SO_SNDBUF) == 40_000
    assert read(link.wire.socket, socket.SOL_SOCKET, socket.SO_RCVBUF) == 60_000
    assert read(link.wire.socket, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
    assert link.wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:1] == b"\x01"
    assert plain.wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:1] == b"\x00"
    link.wire.close()
    plain.wire.close()


def _origin(server: Server):
    from loadstone_runner.engine.http.origin import place_of

    return place_of(server.url, "/").origin


def test_source_addresses_take_turns(bench, serve) -> None:
    server = serve(once(CLOSING))
    client = bench.client(server.url, source_addresses=("127.0.0.2", "127.0.0.3", "::1"))

    assert all(client.get("/").ok for _ in range(6))
    assert sorted(server.callers) == ["127.0.0.2"] * 3 + ["127.0.0.3"] * 3


def test_a_source_address_that_is_not_of_this_machine_is_a_failure(bench, serve) -> None:
    client = bench.client(serve(always(OK)).url, source_addresses=("192.0.2.1",))

    assert client.get("/").error == "no free port"
    assert bench.counters.unsent == 1


def test_a_unix_socket_is_a_target_and_an_option(bench, serve, tmp_path) -> None:
    path = tmp_path / "a:b.sock"
    server = serve(always(OK), unix=path)
    target = "http+unix://" + str(path).replace("/", "%2F")

    reply = bench.client(target).get("/orders?x=1")
    through = bench.client("http://shop.test:81", unix_socket=str(path)).get("/")

    assert (reply.ok, reply.name, reply.url) == (True, "/orders", target.replace(":b", "%3Ab") + "/orders?x=1")
    assert through.ok
    assert b"\r\nHost: localhost\r\n" in server.requests[0]
    assert b"\r\nHost: shop.test:81\r\n" in server.requests[1]
    assert bench.client("", unix_socket="/nowhere.sock").get("http://a.test/").error == "unreachable"
    assert bench.resolver.lookups == 0


def test_a_redirect_stays_on_its_unix_socket(bench, serve, tmp_path) -> None:
    path = tmp_path / "s"

    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: ../new?a=b\r\nContent-Length: 0\r\n\r\n")
        always(OK)(peer, 0)

    server = serve(behave, unix=path)
    reply = bench.client("http+unix://" + str(path).replace("/", "%2F")).get("/a/old")

    assert reply.ok
    assert server.requests[1].startswith(b"GET /new?a=b HTTP/1.1\r\n")


def proxy(target_port: int) -> Callable[[Peer, int], None]:
    """Forward what is asked in absolute form, and open tunnels to one port."""

    def behave(peer: Peer, _number: int) -> None:
        head = peer.head()
        peer.server.requests.append(head)
        if not head.startswith(b"CONNECT"):
            peer.held = head + peer.held
            peer.pass_on(target_port)
            return
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.pass_on(target_port)

    return behave


def test_http_goes_through_a_proxy_by_its_whole_url_and_the_name_is_the_proxys_to_look_up(bench, serve) -> None:
    target = serve(always(OK))
    through = serve(proxy(target.port))
    client = bench.client("http://shop.test", proxy=f"http://me:secret@127.0.0.1:{through.port}")

    assert [client.get("/cart?x=1").ok for _ in range(2)] == [True, True]
    assert target.requests[0].startswith(b"GET http://shop.test/cart?x=1 HTTP/1.1\r\nProxy-Authorization: Basic ")
    assert b"\r\nHost: shop.test\r\n" in target.requests[0]
    assert through.connections == 1
    assert bench.counts("/cart")["latency"] == 2


@pytest.mark.parametrize("is_secure", [False, True])
def test_https_goes_through_a_tunnel_also_of_an_https_proxy(bench, serve, authority, good, is_secure) -> None:
    body = bytes(range(256)) * 2_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    target = serve(always(answer, body), server_context(good))
    through = serve(proxy(target.port), server_context(good) if is_secure else None)
    client = bench.client(
        "https://shop.test:8443", verify=str(authority.certificate), proxy=through.url.replace("//", "//a:b@")
    )

    replies = [client.post("/", data=body) for _ in range(3)]

    assert [(reply.error, reply.body == body) for reply in replies] == [(None, True)] * 3
    assert through.requests == [
        b"CONNECT shop.test:8443 HTTP/1.1\r\nHost: shop.test:8443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
    ]
    assert target.requests[0].endswith(body)
    assert b"Proxy-Authorization" not in target.requests[0]
    assert bench.counts()["tls"] == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "refused the tunnel with status 407"),
        (b"220 smtp.test\r\n\r\n", "is no proxy"),
        (b"HTTP/1.1 200 OK\r\n", "hung up instead of opening a tunnel"),
        (b"X" * 20_000, "without an end"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_is_a_failure_of_its_own_kind(bench, serve, answer, sentence) -> None:
    def behave(peer: Peer, _number: int) -> None:
        peer.head()
        peer.send(answer)

    through = serve(behave)

    assert bench.client("https://shop.test", proxy=through.url).get("/").error == "proxy"
    assert sentence in bench.sentences[0]
    assert bench.counters == Counters(started=1, completed=1, unsent=1)


def test_what_no_proxy_covers_goes_directly(bench, serve) -> None:
    target = serve(always(OK))

    assert bench.client(target.url, proxy="http://127.0.0.1:1", no_proxy=("127.0.0.0/8",)).get("/").ok
    assert bench.client(target.url, proxy="http://127.0.0.1:1").get("/").error == "refused"


def test_a_name_is_looked_up_once_for_all_users_until_its_answer_is_old(bench, serve) -> None:
    server = serve(once(CLOSING))
    url = f"http://localhost:{server.port}"

    def ask(times: int, **options) -> int:
        before = bench.resolver.lookups
        client = bench.client(url, ip="only ipv4", **options)
        for _ in range(times):
            assert client.get("/").ok
        return bench.resolver.lookups - before

    assert ask(3) == 1
    assert ask(3) == 0
    assert ask(3, dns_ttl=0) == 3
    assert ask(3, dns_ttl=float("inf")) == 0


def test_what_was_looked_up_before_the_load_counts_from_its_first_use(bench, serve) -> None:
    server = serve(once(CLOSING))
    url = f"http://localhost:{server.port}"
    client = bench.client(url, ip="only ipv4", dns_ttl=0.2)

    prepare([client._outfit, Outfit("http://no-such-name.invalid"), Outfit("")], bench.resolver, 5.0)
    looked_up = bench.resolver.lookups
    gevent.sleep(0.3)
    assert client.get("/").ok
    assert bench.resolver.lookups == looked_up == 2
    gevent.sleep(0.3)
    assert client.get("/").ok
    assert bench.resolver.lookups == 3


def test_addresses_come_in_the_order_and_of_the_family_of_the_policy(bench) -> None:
    from loadstone_runner.engine.http.resolution import Address, Held, Resolver

    resolver = Resolver()
    four = [Address(socket.AF_INET, (f"10.0.0.{number}", 80)) for number in range(3)]
    six = [Address(socket.AF_INET6, ("fd00::1", 80, 0, 0))]
    resolver._held["shop.test", 80] = Held((*six, *four), 0)

    def order(times: int = 1, **policy) -> list[tuple[Address, ...]]:
        return [resolver.addresses("shop.test", 80, 0, DnsPolicy(**policy)) for _ in range(times)]

    assert order(2, order="first") == [(*six, *four)] * 2
    assert {each[0] for each in order(3, family="only ipv4")} == set(four)
    assert {each[0] for each in order(3, family="prefer ipv4")} == set(four)
    assert all(each[-1] == six[0] for each in order(3, family="prefer ipv4"))
    assert order(family="only ipv6") == [tuple(six)]
    assert {each[0] for each in order(100, family="only ipv4", order="random")} == set(four)
    assert all(set(each) == set(four) for each in order(10, family="only ipv4", order="random"))


def test_a_name_without_an_address_of_the_wanted_family_is_a_dns_failure(bench) -> None:
    client = bench.client("http://127.0.0.1:1", ip="only ipv6")

    assert client.get("/").error == "dns"
    assert bench.sentences == ["127.0.0.1 has no ipv6 address"]


def test_users_of_one_profile_share_one_tls_context(bench, serve, good, monkeypatch) -> None:
    from loadstone_runner.engine.http import tls

    made: list[object] = []
    make = tls._make_context
    monkeypatch.setattr(tls, "_contexts", {})
    monkeypatch.setattr(tls, "_make_context", lambda terms: made.append(terms) or make(terms))
    server = serve(always(OK), server_context(good))

    for _ in range(3):
        assert bench.client(server.url, verify=False).get("/").ok
        assert bench.client(server.url, verify=False, timeout=3, server_name="shop.test").get("/").ok
    assert len(made) == 1
    assert bench.client(server.url, verify=False, tls_maximum="1.2").get("/").ok
    assert len(made) == 2

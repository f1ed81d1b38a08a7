"""The engine's HTTP client over TLS, with certificates of the test's own."""

import ssl
import subprocess
import time
from pathlib import Path

import gevent
import pytest
from tests.component.hostile import OK, Authority, always, once, server_context

from loadstone_core.stats.stream import Counters


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2", "-subj", "/CN=test",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem"


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_keeps_its_connection_and_its_handshake_is_timed_once(bench, serve, tls, certificate, version) -> None:
    tls.maximum_version = version
    server = serve(always(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000), tls)
    client = bench.client(server.url)
    client.verify = str(certificate)

    for _ in range(5):
        reply = client.get("/")
        assert (reply.error, len(reply.body)) == (None, 100_000)
        gevent.sleep(0.01)

    assert (server.connections, len(server.requests)) == (1, 5)
    counts = {each.key.metric: each.count for each in bench.instruments.recorder.whole()}
    assert counts["tls"] == 1


def test_a_full_name_with_its_dot_has_the_certificate_of_the_name(bench, serve, tmp_path) -> None:
    authority, asked = Authority(tmp_path), []
    context = server_context(authority.issue("server", "DNS:shop.test"))
    context.sni_callback = lambda _tls, name, _context: asked.append(name)
    server = serve(always(OK), context)
    options = {"hosts": {"shop.test.": "127.0.0.1"}, "verify": str(authority.certificate)}

    assert bench.client(f"https://shop.test.:{server.port}", **options).get("/").error is None
    assert asked == ["shop.test"]


def test_a_certificate_that_nobody_vouches_for_is_a_tls_failure_and_unsent(bench, serve, tls) -> None:
    server = serve(always(OK), tls)
    client = bench.client(server.url)

    refused = client.get("/")
    client.verify = False
    accepted = client.get("/")

    assert (refused.error, accepted.error) == ("certificate", None)
    assert len(server.requests) == 1
    assert bench.counters == Counters(started=2, completed=2, unsent=1)
    assert [each.message for each in bench.instruments.recorder.errors()] == [
        "the certificate is self-signed and nobody vouches for it"
    ]


def test_plain_http_from_a_tls_port_and_a_silent_one_are_tls_failures(bench, serve) -> None:
    plain = serve(lambda peer, _number: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    silent = serve(lambda _peer, _number: time.sleep(3))
    client = bench.client("")

    assert client.get(f"https://127.0.0.1:{plain.port}/").error == "tls"
    assert client.get(f"https://127.0.0.1:{silent.port}/", timeout=0.3).error == "tls timeout"
    assert bench.counters.unsent == 2


def test_an_https_answer_that_breaks_off_is_truncated(bench, serve, tls) -> None:
    server = serve(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), tls)
    client = bench.client(server.url)
    client.verify = False

    assert client.get("/").error == "truncated"
    assert bench.counters.ambiguous == 1


def test_a_long_body_goes_through_tls(bench, serve, tls) -> None:
    server = serve(always(OK), tls)
    client = bench.client(server.url)
    client.verify = False
    body = bytes(range(256)) * 20_000

    assert client.post("/", data=body).ok
    assert server.requests[0].endswith(body)

from base64 import b64encode

import pytest

from loadstone_runner.engine.http.failures import ExchangeError, FailureKind
from loadstone_runner.engine.http.origin import origin_of, place_of
from loadstone_runner.engine.http.proxy import check_tunnel, connect_request, forwarded, proxies_of
from loadstone_runner.engine.http.requests import write

PLAIN = origin_of("http", "shop.test", 80)
SECURE = origin_of("https", "shop.test", 8443)


def test_without_a_proxy_nothing_goes_through_one_whatever_the_environment_says() -> None:
    assert proxies_of(None, (), {"HTTP_PROXY": "http://proxy:3128"}) is None


def test_one_proxy_serves_both_schemes_and_its_user_is_shown_to_it() -> None:
    proxies = proxies_of("http://me:se%20cret@proxy.test:3128", (), {})

    proxy = proxies.proxy_for(PLAIN)
    assert proxy == proxies.proxy_for(SECURE)
    assert str(proxy.origin) == "http://proxy.test:3128"
    assert proxy.authorization == b"Proxy-Authorization: Basic " + b64encode(b"me:se cret") + b"\r\n"


def test_the_environment_is_read_when_it_is_asked_for_in_either_case() -> None:
    proxies = proxies_of(
        "environment", (), {"http_proxy": "proxy:1", "HTTPS_PROXY": "https://proxy", "NO_PROXY": "shop.test:8443, x"}
    )

    assert str(proxies.proxy_for(PLAIN).origin) == "http://proxy:1"
    assert proxies.proxy_for(SECURE) is None
    assert str(proxies.proxy_for(origin_of("https", "other.test", 443)).origin) == "https://proxy"
    assert proxies_of("environment", (), {"NO_PROXY": "*"}) is None
    assert str(proxies_of("environment", (), {"ALL_PROXY": "http://all:1"}).proxy_for(SECURE).origin) == "http://all:1"


@pytest.mark.parametrize(
    ("pattern", "host", "is_direct"),
    [
        ("shop.test", "shop.test", True),
        ("shop.test", "www.shop.test", True),
        (".shop.test", "www.shop.test", True),
        ("*.shop.test", "www.shop.test", True),
        ("shop.test", "workshop.test", False),
        ("shop.test:81", "shop.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "shop.test", False),
        ("fd00::/8", "fd00::1", True),
        ("*", "anything", True),
        ("[", "shop.test", False),
    ],
)
def test_what_no_proxy_names_goes_directly(pattern, host, is_direct) -> None:
    proxies = proxies_of("http://proxy:1", (pattern,), {})

    assert (proxies.proxy_for(origin_of("http", host, 80)) is None) == is_direct


@pytest.mark.parametrize("url", ["socks5://me:secret@proxy:1", "http://", "http://me:secret@proxy:port"])
def test_an_unusable_proxy_is_refused_without_its_password(url) -> None:
    with pytest.raises(ValueError, match="is no usable URL") as raised:
        proxies_of(url, (), {})
    assert "secret" not in str(raised.value)


def test_a_plain_request_is_asked_for_by_its_whole_url() -> None:
    proxy = proxies_of("http://a:b@proxy:1", (), {}).http
    written = write("POST", place_of("http://shop.test", "/cart?x=1"), {"X": "y"}, b"POST / HTTP/1.1\r\n")

    sent = forwarded(written, proxy)

    assert sent.data.startswith(b"POST http://shop.test/cart?x=1 HTTP/1.1\r\nProxy-Authorization: Basic YTpi\r\n")
    assert sent.data.endswith(b"X: y\r\n\r\nPOST / HTTP/1.1\r\n")
    assert (sent.name, sent.place) == (written.name, written.place)


def test_a_tunnel_is_asked_for_by_host_and_port() -> None:
    proxy = proxies_of("http://proxy:1", (), {}).https

    assert connect_request(SECURE, proxy) == b"CONNECT shop.test:8443 HTTP/1.1\r\nHost: shop.test:8443\r\n\r\n"
    assert connect_request(origin_of("https", "::1", 443), proxy).startswith(b"CONNECT [::1]:443 ")


@pytest.mark.parametrize("head", [b"HTTP/1.1 407 Proxy Authentication Required", b"HTTP/1.1 302 Found", b"SSH-2.0"])
def test_whatever_is_no_consent_to_a_tunnel_is_a_proxy_failure(head) -> None:
    proxy = proxies_of("http://proxy:1", (), {}).https
    check_tunnel(b"HTTP/1.0 200 Connection established", proxy)

    with pytest.raises(ExchangeError) as raised:
        check_tunnel(head, proxy)
    assert raised.value.kind is FailureKind.PROXY

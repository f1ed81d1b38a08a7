import pytest

from loadstone import HttpOptions
from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.profile import DEFAULT, profile_of, with_verify


def test_options_left_alone_are_the_default_profile() -> None:
    assert profile_of(HttpOptions(), {"HTTP_PROXY": "http://proxy:1"}) == DEFAULT


def test_hosts_are_known_by_the_names_that_are_looked_up() -> None:
    profile = profile_of(HttpOptions(hosts={"Grün.example": "10.0.0.1"}), {})

    assert profile.dns.hosts == ((place_of("http://grün.example", "/").origin.host, "10.0.0.1"),)
    with pytest.raises(ValueError, match="'a b' is no host name"):
        profile_of(HttpOptions(hosts={"a b": "10.0.0.1"}), {})


def test_equal_options_are_one_profile_whatever_the_order_of_pinned_hosts() -> None:
    one = profile_of(HttpOptions(hosts={"B.test": "10.0.0.2", "a.test": "10.0.0.1"}, timeout=1), {})
    other = profile_of(HttpOptions(hosts={"a.test": "10.0.0.1", "b.test": "10.0.0.2"}, timeout=2), {})

    assert one is other
    assert one.dns.hosts == (("a.test", "10.0.0.1"), ("b.test", "10.0.0.2"))


def test_another_way_to_check_certificates_is_another_profile() -> None:
    assert with_verify(DEFAULT, verify=False).tls.verify is False
    assert with_verify(with_verify(DEFAULT, verify=False), verify=True) is with_verify(DEFAULT, verify=True)


def test_one_file_may_hold_certificate_and_key() -> None:
    assert profile_of(HttpOptions(client_certificate="me.pem"), {}).tls.certificate == ("me.pem", "me.pem")
    assert profile_of(HttpOptions(client_certificate=("me.pem", "key.pem")), {}).tls.certificate == (
        "me.pem",
        "key.pem",
    )


def test_http2_is_offered_before_http1_unless_the_script_says_what_to_offer() -> None:
    assert profile_of(HttpOptions(http2=True), {}).tls.alpn == ("h2", "http/1.1")
    assert profile_of(HttpOptions(http2=True, alpn=("h2",)), {}).tls.alpn == ("h2",)


def test_a_name_that_is_looked_up_once_is_kept_for_ever() -> None:
    assert profile_of(HttpOptions(dns_ttl=float("inf")), {}).dns.ttl_ns > 10**17


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"timeout": 0}, "timeout must be seconds above 0"),
        ({"connect_timeout": float("nan")}, "connect_timeout must be seconds"),
        ({"first_byte_timeout": 86_401}, "at most 86400"),
        ({"verify": None}, "verify must be True, False or the path of a file"),
        ({"tls_minimum": "1.4"}, "tls_minimum must be one of 1.0, 1.1, 1.2, 1.3, not '1.4'"),
        ({"tls_minimum": "1.3", "tls_maximum": "1.2"}, "tls_minimum 1.3 is above tls_maximum 1.2"),
        ({"tls_resumption": "never"}, "tls_resumption must be one of off, user, engine"),
        ({"encodings": ("gzip", "lzma")}, "encodings must be one of gzip, deflate, br, zstd"),
        ({"encodings": "gzip"}, "encodings must be"),
        ({"send_buffer": 0}, "send_buffer must be a whole number from 1 on"),
        ({"linger_seconds": -1}, "linger_seconds must be a whole number from 0 on"),
        ({"source_addresses": ("localhost",)}, "source_addresses must be an IP address, not 'localhost'"),
        ({"hosts": {"shop.test": "nowhere"}}, "hosts must be an IP address"),
        ({"dns_ttl": -1}, "dns_ttl must be seconds"),
        ({"proxy": "http://p:1", "unix_socket": "/run/x"}, "either proxy or unix_socket"),
    ],
)
def test_an_option_that_could_only_fail_later_is_refused_at_once(option, sentence) -> None:
    with pytest.raises(ValueError, match="HttpOptions: ") as raised:
        HttpOptions(**option)
    assert sentence in str(raised.value)

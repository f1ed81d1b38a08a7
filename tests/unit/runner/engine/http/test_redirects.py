import pytest

from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.redirects import after_redirect, location_of
from loadstone_runner.engine.http.requests import write, write_body


def ask(method: str, **headers: str | None):
    body, own = write_body(method, {"a": 1}, None)
    return write(method, place_of("http://shop", "/start"), {**own, **headers}, body)


@pytest.mark.parametrize(
    ("status", "method", "onward", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", True),
        (301, "PUT", "PUT", True),
        (302, "DELETE", "DELETE", True),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
    ],
)
def test_the_method_after_a_redirect_is_that_of_the_rfc(status, method, onward, keeps_body) -> None:
    written = after_redirect(ask(method), status, "/end")

    assert (written.method, written.place.url, written.name) == (onward, "http://shop/end", "/end")
    assert written.data.startswith(f"{onward} /end HTTP/1.1\r\nHost: shop\r\n".encode())
    assert written.data.endswith(b'{"a":1}') == keeps_body
    assert (b"Content-Type" in written.data, b"Content-Length" in written.data) == (keeps_body, keeps_body)


def test_secrets_stay_with_their_origin_and_other_headers_travel() -> None:
    asked = ask("GET", Authorization="Bearer x", cookie="a=1", Trace="yes")

    same = after_redirect(asked, 307, "/end").data
    other = after_redirect(asked, 307, "https://shop/end").data

    assert (b"Bearer" in same, b"cookie" in same, b"Trace: yes" in same) == (True, True, True)
    assert (b"Bearer" in other, b"cookie" in other, b"Trace: yes" in other) == (False, False, True)


def test_the_scripts_own_host_stays_with_its_origin_and_what_it_left_out_stays_out() -> None:
    asked = ask("GET", Host="virtual.test", **{"User-Agent": None, "accept": "text/html"})

    same = after_redirect(asked, 302, "/end").data
    other = after_redirect(asked, 302, "http://other/end").data

    assert same.startswith(b"GET /end HTTP/1.1\r\nHost: virtual.test\r\n")
    assert other.startswith(b"GET /end HTTP/1.1\r\nHost: other\r\n")
    assert b"User-Agent" not in same + other
    assert (same.count(b"ccept: "), same.count(b"accept: text/html")) == (1, 1)


def test_only_redirects_lead_anywhere() -> None:
    head = b"HTTP/1.1 201 Created\r\nX: y\r\nlocation:  /new "

    assert location_of(201, head) is None
    assert location_of(302, head) == "/new"
    assert location_of(302, b"HTTP/1.1 302 Found") is None


def test_letters_of_a_location_are_utf_8_or_latin_1() -> None:
    for coding in ("utf-8", "latin-1"):
        location = location_of(302, "HTTP/1.1 302 Found\r\nLocation: /café".encode(coding))

        assert location == "/café"
        assert after_redirect(ask("GET"), 302, location).place.target == "/caf%C3%A9"


@pytest.mark.parametrize("location", ["javascript:alert(1)", "http+unix://%2Frun%2Fdocker.sock/containers/json"])
def test_a_redirect_to_no_url_is_refused(location) -> None:
    with pytest.raises(ValueError, match="no http or https URL"):
        after_redirect(ask("GET"), 302, location)

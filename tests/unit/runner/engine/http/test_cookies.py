from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.engine.http.cookies import COOKIES_MAX, CookieJar, seconds_of
from loadstone_runner.engine.http.origin import place_of

NOW = 1_700_000_000.0


def at(url: str):
    return place_of("", url)


def jar_with(*lines: str, url: str = "http://www.shop.test/cart/items?x=1") -> CookieJar:
    jar = CookieJar()
    head = "\r\n".join(["HTTP/1.1 200 OK", *(f"Set-Cookie: {each}" for each in lines)])
    jar.take(at(url), head.encode("latin-1"), NOW)
    return jar


@pytest.mark.parametrize(
    ("line", "url", "goes"),
    [
        ("a=1", "http://www.shop.test/cart/", True),
        ("a=1", "http://www.shop.test/cart", True),
        ("a=1", "http://www.shop.test/cartoon", False),
        ("a=1", "http://www.shop.test/", False),
        ("a=1; Path=/", "http://www.shop.test/", True),
        ("a=1; Path=/", "http://shop.test/", False),
        ("a=1; Path=/", "http://a.www.shop.test/", False),
        ("a=1; Path=/; Domain=shop.test", "http://shop.test/", True),
        ("a=1; Path=/; Domain=.SHOP.test", "http://other.shop.test/", True),
        ("a=1; Path=/; Domain=shop.test", "http://workshop.test/", False),
        ("a=1; Path=/; Domain=test", "http://www.shop.test/", False),
        ("a=1; Path=/; Domain=elsewhere.test", "http://elsewhere.test/", False),
        ("a=1; Path=/; Domain=sub.www.shop.test", "http://sub.www.shop.test/", False),
        ("a=1; Path=/; Secure", "http://www.shop.test/", False),
        ("a=1; Path=/; Secure; HttpOnly; SameSite=Lax", "https://www.shop.test/", True),
        ("a=1; Path=/; Max-Age=60", "http://www.shop.test/", True),
        ("a=1; Path=/; Max-Age=0", "http://www.shop.test/", False),
        ("a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://www.shop.test/", True),
        ("a=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://www.shop.test/", False),
        ("a=1; Path=/; Max-Age=\xb2", "http://www.shop.test/", True),
        ("a=1; Path=/; Expires=whenever", "http://www.shop.test/", True),
        ("a", "http://www.shop.test/cart/", False),
        ("=1", "http://www.shop.test/cart/", False),
        ("a=" + "x" * 5_000, "http://www.shop.test/cart/", False),
        ("a=1\x01", "http://www.shop.test/cart/", False),
    ],
)
def test_a_cookie_goes_where_the_rfc_says(line, url, goes) -> None:
    header = jar_with(line).header_for(at(url), NOW)

    assert header == (b"Cookie: a=1\r\n" if goes else b"")


def test_an_address_has_no_hosts_below_it() -> None:
    jar = jar_with("a=1; Domain=0.0.1; Path=/", "b=2; Domain=127.0.0.1; Path=/", url="http://127.0.0.1/")

    assert jar.header_for(at("http://127.0.0.1/"), NOW) == b"Cookie: b=2\r\n"


def test_longer_paths_come_first_then_older_cookies_and_a_new_value_keeps_its_place() -> None:
    jar = jar_with("a=1; Path=/", "b=2; Path=/cart", "c=3; Path=/", "a=4; Path=/")

    assert jar.header_for(at("http://www.shop.test/cart"), NOW) == b"Cookie: b=2; a=4; c=3\r\n"
    assert (jar.get("a"), jar.get("missing"), sorted(jar), len(jar)) == ("4", None, ["a", "b", "c"], 3)


def test_a_cookie_ends_when_it_says_also_after_its_line_was_worked_out() -> None:
    jar = jar_with("a=1; Path=/; Max-Age=10", "b=2; Path=/")
    place = at("http://www.shop.test/")

    assert [jar.header_for(place, NOW + seconds) for seconds in (0, 9.9, 10, 11)] == [
        b"Cookie: a=1; b=2\r\n",
        b"Cookie: a=1; b=2\r\n",
        b"Cookie: b=2\r\n",
        b"Cookie: b=2\r\n",
    ]


def test_a_server_takes_its_cookie_back() -> None:
    jar = jar_with("a=1; Path=/", "a=gone; Path=/; Max-Age=-1")

    assert jar.header_for(at("http://www.shop.test/"), NOW) == b""


def test_a_script_puts_cookies_in_and_clears_them() -> None:
    jar = CookieJar()
    jar.set("session", "x y", domain=".Shop.test")

    assert jar.header_for(at("http://www.shop.test/any"), NOW) == b"Cookie: session=x y\r\n"
    jar.clear()
    assert jar.header_for(at("http://www.shop.test/any"), NOW) == b""
    for name, value in (("a b", "1"), ("a", "1;2"), ("", "1"), ("a", "1\r\nEvil: 1")):
        with pytest.raises(ValueError, match="is no cookie"):
            jar.set(name, value, domain="shop.test")


def test_memory_is_bounded_and_the_oldest_go() -> None:
    jar = jar_with(*(f"c{number}=1; Path=/" for number in range(1_000)))

    assert len(jar) == COOKIES_MAX
    assert jar.get("c0") is None
    assert jar.get("c999") == "1"


@given(st.integers(min_value=-11_000_000_000, max_value=250_000_000_000))
def test_a_date_is_read_back_in_the_form_that_servers_write(second: int) -> None:
    moment = datetime.fromtimestamp(second, UTC)

    assert seconds_of(format_datetime(moment, usegmt=True)) == second


@pytest.mark.parametrize(
    ("date", "second"),
    [
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 1_445_412_480),
        ("Wed Oct 21 07:28:00 2015", 1_445_412_480),
        ("21 Oct 2015 7:28:0", 1_445_412_480),
        ("Sun, 06 Nov 94 08:49:37 GMT", 784_111_777),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 1600 07:28:00 GMT", None),
        ("tomorrow", None),
    ],
)
def test_old_forms_of_a_date_are_read_and_what_is_none_is_not(date, second) -> None:
    assert seconds_of(date) == second


@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_header_however_broken_raises_or_breaks_the_next_request(text: str) -> None:
    jar = CookieJar()
    jar.take(at("http://www.shop.test/"), b"HTTP/1.1 200 OK\r\nSet-Cookie: " + text.encode("latin-1"), NOW)

    line = jar.header_for(at("http://www.shop.test/"), NOW)
    assert line.count(b"\n") == line.count(b"\r\n") == bool(line)

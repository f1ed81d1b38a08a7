import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.http.origin import place_after_redirect, place_of

PLAIN = "/-._~!$&'()*+,;=:@[%25]/?-._~!$&'()*+,;=:@[%25]/?"


@pytest.mark.parametrize(
    ("base", "path", "authority", "target"),
    [
        ("http://shop", "/", "shop", "/"),
        ("http://shop", "", "shop", "/"),
        ("http://shop/", "/orders", "shop", "/orders"),
        ("http://shop", "orders", "shop", "/orders"),
        ("http://shop/api", "/orders?a=1", "shop", "/api/orders?a=1"),
        ("http://shop/api/", "?a=1", "shop", "/api?a=1"),
        ("http://SHOP.Default:8080", "/x#part", "shop.default:8080", "/x"),
        ("http://shop:80", "/", "shop", "/"),
        ("https://shop:443", "/", "shop", "/"),
        ("https://shop:80", "/", "shop:80", "/"),
        ("http://[::1]:8080", "/", "[::1]:8080", "/"),
        ("http://grün.example", "/ü b", "xn--grn-ioa.example", "/%C3%BC%20b"),
        ("http://shop", "/a%20b%2F", "shop", "/a%20b%2F"),
        ("http://shop", "/?q=a b", "shop", "/?q=a%20b"),
        ("http://shop", '/{a}?q={"b":1}|<^`\\>', "shop", "/%7Ba%7D?q=%7B%22b%22:1%7D%7C%3C%5E%60%5C%3E"),
        ("http://shop", PLAIN, "shop", PLAIN),
        ("http://shop", "/?to=http://other/", "shop", "/?to=http://other/"),
        ("http://shop", "https://other/x", "other", "/x"),
        ("http://shop", "/@me?mail=a@b", "shop", "/@me?mail=a@b"),
        ("http://shop", "/thumb/https://other/x.png", "shop", "/thumb/https://other/x.png"),
        ("http://shop/api", "thumb/https://other/", "shop", "/api/thumb/https://other/"),
        ("", "http://other/x", "other", "/x"),
    ],
)
def test_a_path_is_below_the_target_and_a_url_is_itself(base, path, authority, target) -> None:
    place = place_of(base, path)

    assert (place.origin.authority, place.target) == (authority, target)
    assert place.url == f"{'https' if place.origin.is_tls else 'http'}://{authority}{target}"


@pytest.mark.parametrize(
    ("base", "path", "message"),
    [
        ("", "/", r"set load\.target"),
        ("shop", "/", "no http or https URL"),
        ("ftp://shop", "/", "no http or https URL"),
        ("http://", "/", "no http or https URL"),
        ("http://shop:port", "/", "is no URL"),
        ("http://shop:70000", "/", "is no URL"),
        ("http://a b", "/", "is no host name"),
        ("http://[::1", "/", "is no URL"),
        ("http://" + "ü" * 300, "/", "is no host name"),
        ("http://me:secret@shop", "/", r"^a URL with user and password in it: give them as auth="),
        ("", "https://token@shop/", "a URL with user and password"),
    ],
)
def test_what_is_no_url_is_refused_with_a_sentence(base, path, message) -> None:
    with pytest.raises(ValueError, match=message):
        place_of(base, path)


def test_the_same_place_has_the_same_origin() -> None:
    assert place_of("http://shop", "/a").origin is place_of("", "http://SHOP:80/b").origin
    assert place_of("http://shop", "/a").origin is not place_of("https://shop", "/a").origin


@given(some.text(max_size=60))
def test_no_path_can_break_the_request_line(path) -> None:
    try:
        place = place_of("http://shop", f"/{path}")
    except ValueError:
        return

    assert place.target.isascii()
    assert not set(place.target) & set(" \r\n\t\0")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "http://shop/b"),
        ("b", "http://shop/a/b"),
        ("../c?d=1", "http://shop/c?d=1"),
        ("//other/x", "http://other/x"),
        ("https://other/", "https://other/"),
    ],
)
def test_a_location_is_relative_to_where_it_was_said(location, url) -> None:
    assert place_after_redirect(place_of("http://shop", "/a/start"), location).url == url


def test_the_name_of_a_place_has_no_query() -> None:
    assert place_of("http://shop", "/a/b?c=d").path == "/a/b"

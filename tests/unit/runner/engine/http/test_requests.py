from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.http.origin import place_of
from loadstone_runner.engine.http.requests import method_of, with_query, write, write_body, write_head

SHOP = place_of("http://shop:8080", "/orders?a=1")


def test_a_request_is_its_line_its_headers_and_its_body() -> None:
    body, headers = write_body("POST", {"item": 1}, None)

    assert write("POST", SHOP, headers, body).data == (
        b"POST /orders?a=1 HTTP/1.1\r\nHost: shop:8080\r\nUser-Agent: loadstone\r\nAccept: */*\r\n"
        b'Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{"item":1}'
    )


def test_headers_replace_the_clients_own_whatever_their_case_and_none_leaves_one_out() -> None:
    head = write_head("GET", SHOP, {"user-agent": "mine", "ACCEPT": None, "host": "other"})

    assert head == b"GET /orders?a=1 HTTP/1.1\r\nhost: other\r\nuser-agent: mine\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET /", {}),
        ("G\r\n", {}),
        ("", {}),
        ("GET", {"X": "a\r\nEvil: 1"}),
        ("GET", {"X": "a\nb"}),
        ("GET", {"X": "\0"}),
        ("GET", {"X Y": "a"}),
        ("GET", {"X:": "a"}),
        ("GET", {"": "a"}),
        ("GET", {"X": 5}),
        ("GET", {"X": "\N{SNOWMAN}"}),
    ],
)
def test_nothing_can_be_smuggled_into_a_head(method, headers) -> None:
    with pytest.raises(ValueError, match=r"method|header|latin-1"):
        write_head(method, SHOP, headers)


@given(some.dictionaries(some.text(max_size=8), some.text(max_size=12), max_size=4))
def test_a_head_that_was_written_has_as_many_lines_as_headers(headers) -> None:
    try:
        head = write_head("GET", SHOP, headers)
    except ValueError:
        return

    names = {"host", "user-agent", "accept", *(name.lower() for name in headers)}
    assert head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == 1 + len(names) + 1
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "json", "data", "body", "headers"),
    [
        ("GET", None, None, b"", {}),
        ("DELETE", None, None, b"", {}),
        ("POST", None, None, b"", {"Content-Length": "0"}),
        ("PUT", None, b"\xff\x00", b"\xff\x00", {"Content-Length": "2"}),
        ("PUT", None, bytearray(b"ab"), b"ab", {"Content-Length": "2"}),
        (
            "POST",
            None,
            "grün",
            "grün".encode(),
            {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "5"},
        ),
        (
            "POST",
            None,
            {"a": "b c", "c": None, "d": ["1", "2"]},
            b"a=b+c&d=1&d=2",
            {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "13"},
        ),
        ("POST", [], None, b"[]", {"Content-Type": "application/json", "Content-Length": "2"}),
        ("POST", 0, None, b"0", {"Content-Type": "application/json", "Content-Length": "1"}),
        ("POST", None, b"", b"", {"Content-Length": "0"}),
    ],
)
def test_a_body_comes_with_the_headers_that_describe_it(method, json, data, body, headers) -> None:
    assert write_body(method, json, data) == (body, headers)


@pytest.mark.parametrize(
    ("json", "data", "error"),
    [(1, b"x", ValueError), (float("nan"), None, ValueError), (object(), None, TypeError), (None, 5, TypeError)],
)
def test_a_body_that_cannot_be_written_is_refused(json, data, error) -> None:
    with pytest.raises(error):
        write_body("POST", json, data)


@pytest.mark.parametrize(
    ("path", "params", "whole"),
    [
        ("/", {}, "/"),
        ("/", {"a": 1}, "/?a=1"),
        ("/?x=y", {"a": "b&c"}, "/?x=y&a=b%26c"),
        ("/", [("a", 1), ("a", 2)], "/?a=1&a=2"),
        ("/", {"a": [1, 2]}, "/?a=1&a=2"),
        ("/", {"a": None, "b": ""}, "/?b="),
        ("/", {"a": None}, "/"),
    ],
)
def test_parameters_are_added_to_the_query(path, params, whole) -> None:
    assert with_query(path, params) == whole


class MultiDict(dict[str, list[str | None]]):
    """A mapping that has names more than once, as those of multidict and other libraries."""

    def items(self):
        return [(name, each) for name, values in super().items() for each in values]


def test_a_name_that_a_mapping_has_more_than_once_is_sent_as_often() -> None:
    fields = MultiDict(a=["1", None, "2"], b=["3"])

    assert with_query("/", fields) == "/?a=1&a=2&b=3"
    assert write_body("POST", None, fields)[0] == b"a=1&a=2&b=3"


def test_a_method_is_text_whatever_an_enumeration_says_of_its_members() -> None:
    class Method(str, Enum):  # noqa: UP042 as many scripts have them
        GET = "get"
        PURGE = "PURGE"

    methods = [method_of(each) for each in (*Method, "Purge")]

    assert methods == ["GET", "PURGE", "Purge"]
    assert {type(each) for each in methods} == {str}
    assert write(methods[1], SHOP, {}, b"").data.startswith(b"PURGE /orders")

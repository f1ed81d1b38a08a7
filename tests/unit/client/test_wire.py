"""What the client makes of bytes, addresses and answers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_client.errors import ClientError, Refused, Unreachable
from loadstone_client.events import Event, EventReader
from loadstone_client.wire import Address, Watch, answer_of, load_wish, parse_address

ROW = {
    "tier": "1s",
    "second": 3,
    "seconds": 1,
    "endedUnixMicros": 5,
    "users": 1,
    "requests": 2,
    "failures": 0,
    "iterations": 2,
    "droppedIterations": 0,
    "p50Micros": 1,
    "p95Micros": 1,
    "p99Micros": 1,
    "gaps": 0,
    "new": "of a later release",
}
STREAM = (
    b": alive\n\nevent: row\r\nid: 4\r\ndata: "
    + json.dumps(ROW).encode()
    + b'\r\n\r\nevent: outcome\ndata: {"verdict": "Passed",\ndata: '
    b'"reason": "Passed", "message": "", "exitCode": 0}\n\n'
)


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_their_bytes_come(cuts: list[int]) -> None:
    reader, events, before = EventReader(), [], 0
    for cut in [*sorted(cuts), len(STREAM)]:
        events += reader.feed(STREAM[before:cut])
        before = cut

    assert events == [
        Event("row", "4", json.dumps(ROW)),
        Event("outcome", "4", '{"verdict": "Passed",\n"reason": "Passed", "message": "", "exitCode": 0}'),
    ]


def test_a_watch_goes_on_behind_its_last_row_and_keeps_the_outcome() -> None:
    watch = Watch("1s", 2)
    assert watch.path() == "/v1/run/watch?tier=1s&from=2"

    rows = list(watch.read(STREAM[:-5]))

    assert [(row.second, row.requests) for row in rows] == [(3, 2)]
    assert watch.outcome is None
    assert watch.path() == "/v1/run/watch?tier=1s&from=4"
    assert len(list(watch.read(STREAM))) == 1
    assert watch.outcome is not None
    assert watch.outcome.is_passed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/x.sock", Address("/run/x.sock", "run", 80, "t")),
        ("http://master.shop.svc:8652", Address(None, "master.shop.svc", 8652, "t")),
        ("http://[::1]:8652/", Address(None, "::1", 8652, "t")),
    ],
)
def test_an_address_is_a_socket_or_a_port(text, address) -> None:
    assert parse_address(text, "t") == address
    assert address.headers == {"Authorization": "Bearer t"}
    assert parse_address(text).headers == {}
    assert str(address) == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "/run/x.sock", "http://x/path", "https://x/path"])
def test_anything_else_is_no_address(text) -> None:
    with pytest.raises(ClientError, match="unix:PATH, http://HOST:PORT or https://HOST:PORT"):
        parse_address(text)


def test_an_answer_is_its_document_or_the_sentence_of_its_error() -> None:
    assert answer_of(200, b'{"a": 1}') == {"a": 1}
    with pytest.raises(Refused, match="no users here") as refused:
        answer_of(409, b'{"error": "no users here"}')
    assert refused.value.status == 409
    with pytest.raises(ClientError, match="no control API of Loadstone"):
        answer_of(200, b"<html>")


def test_an_ingress_that_does_not_reach_the_run_is_no_end_of_it() -> None:
    for body in (b"<html>", b'{"message": "name resolution failed"}', b'"Bad Gateway"'):
        with pytest.raises(Unreachable, match="HTTP 503"):
            answer_of(503, body)


def test_a_token_is_what_its_file_holds() -> None:
    assert parse_address("http://master:8653", "s3cret\n").headers == {"Authorization": "Bearer s3cret"}
    for token in ("two\nlines", "p\u00e4ss"):
        with pytest.raises(ClientError, match="printable ASCII"):
            parse_address("http://master:8653", token)


def test_a_wish_holds_what_was_said() -> None:
    assert json.loads(load_wish(5, None, spawn_rate=2, scenario=None)) == {"users": 5, "spawnRate": 2}
    assert json.loads(load_wish(None, 7, spawn_rate=None, scenario="pay")) == {"rate": 7, "scenario": "pay"}

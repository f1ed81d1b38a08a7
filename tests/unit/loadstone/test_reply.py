import pytest

from loadstone import Reply

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=ISO-8859-1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX: y"


def reply(status=200, head=HEAD, body=b"", error=None) -> Reply:
    return Reply(status, head, body=body, error=error, url="http://shop/", name="/", elapsed=0.5)


def test_headers_are_found_whatever_their_case_and_repeated_ones_are_joined() -> None:
    headers = reply().headers

    assert headers["SET-cookie"] == "a=1, b=2"
    assert "x" in headers
    assert "Y" not in headers
    assert headers.get("missing", "none") == "none"
    assert sorted(headers) == ["content-type", "set-cookie", "x"]
    with pytest.raises(KeyError):
        headers["missing"]


@pytest.mark.parametrize(
    ("head", "body", "text"),
    [
        (HEAD, "grün".encode("latin-1"), "grün"),
        (b"HTTP/1.1 200 OK", "grün".encode(), "grün"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=unheard-of", "grün".encode(), "grün"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=undefined", "grün".encode(), "grün"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=a\0b", "grün".encode(), "grün"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset="UTF-8"; x=1', "grün".encode(), "grün"),
        (b"HTTP/1.1 200 OK", b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_text_follows_the_charset(head, body, text) -> None:
    assert reply(head=head, body=body).text == text


def test_json_is_the_value_and_no_json_is_a_value_error() -> None:
    assert reply(body=b'{"a": [1]}').json() == {"a": [1]}
    with pytest.raises(ValueError, match="Expecting value"):
        reply(body=b"<html>").json()


def test_a_reply_is_true_exactly_if_it_is_ok() -> None:
    assert (bool(reply()), reply().ok) == (True, True)
    assert (bool(reply(error="timeout")), reply(error="timeout").ok) == (False, False)


def test_an_open_reply_is_settled_once_as_the_script_decided() -> None:
    settled = []
    held = reply(status=500, error="status 500")
    held.leave_open(lambda each: settled.append(each.error))

    with held:
        held.success()
    held.settle()

    assert settled == [None]


def test_a_block_that_raises_is_settled_by_the_ordinary_rule() -> None:
    settled = []
    held = reply(status=500, error="status 500")
    held.leave_open(lambda each: settled.append(each.error))

    with pytest.raises(KeyError), held:
        raise KeyError

    assert settled == ["status 500"]


@pytest.mark.parametrize("decide", [Reply.success, lambda each: each.failure("why")])
def test_a_closed_reply_cannot_be_decided_any_more(decide) -> None:
    with pytest.raises(RuntimeError, match="catch_response=True"):
        decide(reply())


def test_what_has_no_answer_cannot_be_passed() -> None:
    held = reply(status=0, error="refused")
    held.leave_open(lambda _each: None)

    with pytest.raises(RuntimeError, match="no whole answer"):
        held.success()
    assert held.error == "refused"


def test_a_reply_names_itself_and_its_failure() -> None:
    assert repr(reply()) == "<Reply / 200>"
    assert repr(reply(status=0, error="dns")) == "<Reply / - dns>"
    assert reply(body=b"x").content == b"x"

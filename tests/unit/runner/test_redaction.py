"""Which variables hold secrets, and what is left of texts that hold those."""

import json
import os
import sys

import pytest

from loadstone_runner.redaction import Redactor, secrets_of

pytestmark = pytest.mark.promise("log-secrets")
ENVIRONMENT = {
    "PATH": "/bin",
    "PYTHONUNBUFFERED": "1",
    "LOADSTONE_TARGET": "http://shop",
    "TOKEN": "one",
    "PAGE": "two",
    "P_KEY": "three",
    "KEY": "four",
}


def told(**lists: list[str]) -> list[str]:
    return secrets_of({**ENVIRONMENT, **{f"LOADSTONE_{name}": json.dumps(value) for name, value in lists.items()}})


def test_without_secrets_nothing_is_kept_out() -> None:
    assert secrets_of(ENVIRONMENT) == []


def test_named_variables_and_those_with_a_prefix_are_secrets() -> None:
    assert told(SECRETS=["TOKEN"]) == ["one"]
    assert told(SECRETS=["TOKEN"], SECRET_PREFIXES=["P_"]) == ["one", "three"]


def test_of_a_whole_secret_it_is_every_variable_of_which_nothing_else_is_known() -> None:
    assert told(SECRETS=["TOKEN"], SECRET_PREFIXES=["*"], NO_SECRETS=["PAGE"]) == ["one", "three", "four"]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("nothing of it", "nothing of it"),
        ("401 for hunter2hunter2 at /", "401 for *** at /"),
        ("cut in the middle of hunter2hu", "cut in the middle of ***"),
        ("hunt", "***"),
        ("a bird, a hun", "a bird, a hun"),
        ("hunt hunter2hunt", "hunt ***"),
        ("swordfish\n", "***\n"),
        ("half a \ud800 hunter2hunter2", "half a ? ***"),
    ],
)
def test_texts_keep_no_secret_and_no_beginning_of_one_at_their_end(said: str, left: str) -> None:
    assert Redactor(["hunter2hunter2", "swordfish\nmore of it", "abc"]).text(said) == left


def test_a_secret_that_is_no_text_is_kept_out_as_bytes_and_as_texts_show_it() -> None:
    redact = Redactor([os.fsdecode(b"k\xe9y of the shop")])

    assert redact(b"opened with k\xe9y of the shop\n") == b"opened with ***\n"
    assert redact.text("opened with k?y of the shop") == "opened with ***"


@pytest.mark.parametrize(
    "secret", ["domain\\hunter2", 'hunter"2', "hunter'2\"", "hünter2", 'hünter"2', "tab\tand hunter2"]
)
def test_a_secret_is_kept_out_of_what_exceptions_and_json_quote(secret: str) -> None:
    redact = Redactor([secret])

    assert redact.text(f"KeyError: {KeyError(secret)}")[11:-1] == "***"
    for is_ascii in (True, False):
        said = json.dumps({"said": f"no {secret} here"}, ensure_ascii=is_ascii)
        assert redact(said.encode()) == b'{"said": "no *** here"}'


def test_a_key_of_many_lines_costs_each_failed_request_little() -> None:
    redact, calls = Redactor(["\n".join(f"{line:064}" for line in range(100))]), []
    sys.setprofile(lambda _frame, event, _what: calls.append(event))
    try:
        redact.text("read timeout: GET http://shop/orders/17 after 5 s, and nothing came of it")
    finally:
        sys.setprofile(None)

    assert calls.count("c_call") < 500


def test_without_secrets_a_text_is_what_it_was() -> None:
    assert Redactor().text("half a \ud800") == "half a \ud800"

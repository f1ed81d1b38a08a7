"""Which variables a launcher keeps out of logs."""

import json

import pytest

from loadstone_runner.launcher.processes import secrets_of

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

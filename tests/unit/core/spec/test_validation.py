"""The rules over a LoadTest's fields, each broken once; samples of tests/contract show them to the API server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.errors import SpecInvalidError
from loadstone_core.spec import fields, source, template, validation
from loadstone_core.spec.parsing import parse_spec
from loadstone_core.spec.shape import Listing, Node, Record, Rule, Table

SOURCE: dict[str, Any] = {"inline": {"content": "x"}}
LOAD: dict[str, Any] = {"users": 1, "duration": "1s"}


def sentences(**parts: Any) -> list[str]:
    try:
        parse_spec({"source": SOURCE, "load": LOAD} | parts)
    except SpecInvalidError as error:
        return [str(problem) for problem in error.problems]
    return []


def nodes(node: Node) -> list[Node]:
    match node:
        case Record(fields=held):
            return [node, *(one for inner in held.values() for one in nodes(inner))]
        case Listing(items=inner) | Table(values=inner):
            return [node, *nodes(inner)]
    return [node]


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ({"users": 1, "rate": 1, "duration": "1s"}, "users and rate exclude each other"),
        ({"users": 1, "stages": [{"duration": "1s", "users": 1}]}, "stages exclude"),
        ({"rate": 1, "stages": [{"duration": "1s", "rate": 1}]}, "stages exclude"),
        ({"iterations": 1, "stages": [{"duration": "1s", "users": 1}]}, "stages exclude"),
        ({"duration": "1s", "stages": [{"duration": "1s", "users": 1}]}, "stages exclude"),
        ({"iterations": 1, "rate": 1}, "iterations are shared among users"),
        ({"rate": 1, "duration": "1s", "spawnRate": 1}, "spawnRate says how fast users start"),
        ({"iterations": 1, "spawnRate": 1}, "spawnRate says how fast users start"),
        ({"users": 1}, "the load has no end"),
        ({"rate": 1}, "the load has no end"),
        ({"duration": "1s"}, "there is no load"),
        ({"users": 1, "duration": "0s"}, "must be longer than zero"),
        ({"users": 1, "duration": "0.0000001ms"}, "must be longer than zero"),
        ({"users": 1, "duration": "9999999h"}, "must be shorter than 292 years"),
        ({"users": 1, "duration": "1s", "gracefulStop": "-1s"}, "must look like 30s"),
        ({"stages": [{"duration": "0h", "users": 1}]}, "must be longer than zero"),
        ({"stages": []}, "must not be empty"),
        ({"stages": [{"duration": "1s", "users": 1}, {"duration": "1s", "rate": 1}]}, "stages must all set users"),
        ({"stages": [{"duration": "1s", "rate": 0}]}, "at least one stage must ask for more"),
        ({"stages": [{"duration": "1s"}]}, "a stage sets exactly one"),
        ({"users": 1, "duration": "1s", "target": "http://shop:0"}, "a URL whose port"),
        ({"users": 1, "duration": "1s", "target": "http://shop:70000"}, "a URL whose port"),
        ({"users": 1, "duration": "1s", "target": "http://[::1"}, "must be a URL"),
        ({"users": 1, "duration": "1s", "target": "http://[:::::]"}, "a URL whose port"),
        ({"users": 1, "duration": "1s", "target": "http://shop/?a=b"}, "must be a URL"),
        ({"users": 1, "duration": "1s", "target": "http://a b/"}, "must be a URL"),
        ({"users": 1, "duration": "1s", "target": "//shop"}, "must be a URL"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_with_one_sentence(load: dict[str, Any], message: str) -> None:
    (told,) = sentences(load=load)

    assert told.startswith("spec.load")
    assert message in told


@pytest.mark.parametrize(
    "load",
    [
        {"users": 1, "duration": "1s", "gracefulStop": "0s"},
        {"rate": 1, "duration": "0.000001ms"},
        {"iterations": 1},
        {"iterations": 1, "users": 2, "spawnRate": 1, "duration": "1s"},
        {"stages": [{"duration": "1s", "users": 0}, {"duration": "1s", "users": 1}]},
        {"users": 1, "duration": "1s", "target": "http://127.0.0.1:8800"},
        {"users": 1, "duration": "1s", "target": "https://[::1]:65535/a/b%20c/"},
    ],
)
def test_a_load_that_makes_sense_is_taken(load: dict[str, Any]) -> None:
    assert sentences(load=load) == []


@pytest.mark.parametrize(
    ("given_source", "message"),
    [
        ({}, "set exactly one of inline, configMap and image"),
        ({"inline": {"content": "x"}, "configMap": {"name": "a"}}, "set exactly one of inline, configMap and image"),
        ({"image": {"path": "/a"}, "entrypoint": "a"}, "leave source.entrypoint out"),
        ({"image": {"path": "/tests/"}}, "the absolute path of a file"),
        ({"inline": {"content": "x"}, "entrypoint": "/a.py"}, "must be a relative path"),
        ({"inline": {"content": "x"}, "entrypoint": "a/./b.py"}, "must be a relative path"),
        ({"inline": {"content": "x"}, "entrypoint": "a b"}, "must be a relative path"),
        ({"inline": {"content": "x", "files": {"..": "y"}}}, "must be relative paths"),
        ({"inline": {"content": "x", "files": {"a//b": "y"}}}, "must be relative paths"),
        ({"inline": {"content": "x", "files": {"a": "y", "a/b": "y"}}}, "may not be the folder of another one"),
        ({"inline": {"content": "x", "files": {"test.py": "y"}}}, "inline.files holds the entrypoint"),
        ({"inline": {"content": "x", "files": {"test.py/a": "y"}}}, "inline.files holds the entrypoint"),
        (
            {"inline": {"content": "x", "files": {"a.py": "y"}}, "entrypoint": "a.py"},
            "inline.files holds the entrypoint",
        ),
        ({"inline": {"content": "é" * 32_769}}, "must be at most 64 KiB"),
        ({"inline": {"content": "x", "files": {"a": "é" * 65_536}}}, "together must be at most 128 KiB"),
        ({"configMap": {"name": "a", "items": [{"key": "a", "path": "b.py"}]}}, "must have the entrypoint's path"),
        (
            {"configMap": {"name": "a", "items": [{"key": "a", "path": "test.py"}, {"key": "b", "path": "test.py/b"}]}},
            "a path may be there once only",
        ),
        ({"configMap": {"name": "a"}, "entrypoint": "b/c.py"}, "source.entrypoint must be a key"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused_with_one_sentence(given_source: dict[str, Any], message: str) -> None:
    (told,) = sentences(source=given_source)

    assert told.startswith("spec.source")
    assert message in told


@pytest.mark.parametrize(
    "given_source",
    [
        {"inline": {"content": "x" * 65_536, "files": {"a": "y" * 65_536}}},
        {"inline": {"content": "x", "files": {"a.b/c": "y", "a": "y", "...": ""}}},
        {"configMap": {"name": "a", "items": []}, "entrypoint": "b.py"},
        {"configMap": {"name": "a", "items": [{"key": "a", "path": "b/c.py"}]}, "entrypoint": "b/c.py"},
        {"image": {"path": "/a"}},
    ],
)
def test_a_source_that_makes_sense_is_taken(given_source: dict[str, Any]) -> None:
    assert sentences(source=given_source) == []


@pytest.mark.parametrize(
    ("given_template", "message"),
    [
        ({"spec": {"containers": []}}, "containers are made by the operator"),
        ({"spec": {"resources": {}}}, "write workers.template.resources"),
        ({"spec": {"hostNetwork": True}}, "unknown field; known are nodeSelector"),
        ({"volumeMounts": [{"name": "a", "mountPath": "/a"}]}, "must be the name of a volume"),
        ({"metadata": {"annotations": {"loadstone.dev/x": ""}}}, "belong to the operator"),
    ],
)
def test_a_template_takes_only_what_is_allowed(given_template: dict[str, Any], message: str) -> None:
    (told,) = sentences(workers={"template": given_template})

    assert told.startswith("spec.workers.template")
    assert message in told


@pytest.mark.parametrize(
    "path", ["/scripts", "//scripts/a", "/run/loadstone/x", "/etc/loadstone", "/var/lib/loadstone/"]
)
def test_the_runners_folders_cannot_be_covered(path: str) -> None:
    volumes = [{"name": "a", "emptyDir": {}}]
    (told,) = sentences(
        workers={"template": {"spec": {"volumes": volumes}, "volumeMounts": [{"name": "a", "mountPath": path}]}}
    )

    assert "which the runner uses" in told


@given(st.lists(st.from_regex(r"[ab]{1,2}(/[ab]){0,2}", fullmatch=True), min_size=1, max_size=6, unique=True))
def test_a_file_is_never_the_folder_of_another_one(paths: list[str]) -> None:
    clash = any(other.startswith(f"{path}/") for path in paths for other in paths)

    (folders,) = (rule for rule in validation.FILES if rule.cel is None)
    assert folders.holds(dict.fromkeys(paths, "")) == (not clash)


def test_every_rule_over_fields_says_which_ones_it_reads() -> None:
    for node in nodes(fields.SPEC):
        if isinstance(node, Record):
            for rule in node.rules:
                assert rule.needs, rule.message
                assert set(rule.needs) <= set(node.fields), rule.message


def test_every_rule_reads_as_one_sentence() -> None:
    rules = [rule for node in nodes(fields.SPEC) for rule in node.rules]

    assert len(rules) > 40
    for rule in rules:
        assert isinstance(rule, Rule)
        assert rule.message
        assert not rule.message.endswith(".")
        assert "\n" not in rule.message


def test_every_field_is_described_in_sentences() -> None:
    for node in nodes(fields.SPEC):
        assert node.about[0].isupper(), node.about
        assert node.about.endswith("."), node.about


def test_the_rooms_of_the_tree_are_one_tree() -> None:
    held = nodes(fields.SPEC)

    assert source.SOURCE in held
    assert template.TEMPLATE in held

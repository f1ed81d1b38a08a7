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
        ({"shape": {"maxUsers": 9}, "users": 1, "duration": "1s"}, "shape says how many users there are"),
        ({"shape": {"maxUsers": 9}}, "shape needs duration"),
        ({"shape": {}, "duration": "1s"}, "spec.load.shape.maxUsers: is required"),
        ({"users": 1, "duration": "1s", "tags": []}, "spec.load.tags: must not be empty"),
        ({"users": 1, "duration": "1s", "excludeTags": ["a", "a"]}, "is there twice"),
        ({"rate": 1}, "the load has no end"),
        ({"duration": "1s"}, "there is no load"),
        ({"users": 1, "iterationsPerUser": 1, "iterations": 1}, "iterationsPerUser is what each of users does"),
        ({"iterationsPerUser": 1}, "iterationsPerUser is what each of users does"),
        ({"users": 1, "iterationsPerUser": 1, "maxUsers": 1}, "are for an open model"),
        ({"users": 1, "duration": "1s", "preallocatedUsers": 1}, "are for an open model"),
        ({"stages": [{"duration": "1s", "users": 1}], "maxUsers": 1}, "are for an open model"),
        ({"rate": 1, "duration": "1s", "maxUsers": 1, "preallocatedUsers": 2}, "must not exceed maxUsers"),
        ({"users": 1, "duration": "10s", "warmUp": "10s"}, "warmUp must be shorter than the load"),
        ({"users": 1, "duration": "10s", "warmUp": "0s"}, "must be longer than zero"),
        ({"stages": [{"duration": "1s", "users": 1}] * 3, "warmUp": "3s"}, "warmUp must be shorter than the load"),
        ({"iterations": 1, "duration": "1m", "warmUp": "3s"}, "a number of iterations has none"),
        ({"users": 1, "iterationsPerUser": 1, "paused": True}, "paused would make users begin"),
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

    assert told.startswith(("spec.load", "spec: "))
    assert message in told


@pytest.mark.parametrize(
    "load",
    [
        {"users": 1, "duration": "1s", "gracefulStop": "0s"},
        {"rate": 1, "duration": "0.000001ms"},
        {"iterations": 1},
        {"users": 1, "iterationsPerUser": 1, "paused": False},
        {"users": 1, "duration": "1s", "paused": True},
        {"users": 1, "duration": "1m", "warmUp": "59.9s"},
        {"stages": [{"duration": "1s", "users": 1}] * 3, "warmUp": "2.9s"},
        {"rate": 1, "duration": "1s", "maxUsers": 1, "preallocatedUsers": 1},
        {"stages": [{"duration": "1s", "rate": 1}], "maxUsers": 1},
        {"iterations": 1, "users": 2, "spawnRate": 1, "duration": "1s"},
        {"stages": [{"duration": "1s", "users": 0}, {"duration": "1s", "users": 1}]},
        {"users": 1, "duration": "1s", "target": "http://127.0.0.1:8800"},
        {"users": 1, "duration": "1s", "target": "https://[::1]:65535/a/b%20c/"},
    ],
)
def test_a_load_that_makes_sense_is_taken(load: dict[str, Any]) -> None:
    assert sentences(load=load) == []


A: dict[str, Any] = {"name": "a", "users": 1, "duration": "1s"}
B: dict[str, Any] = {"name": "b", "rate": 1, "duration": "1s"}


@pytest.mark.parametrize(
    ("scenarios", "message"),
    [
        ([], "spec.scenarios: must not be empty"),
        ([A, A], 'spec.scenarios[1].name: "a" is there twice'),
        ([A | {"name": str(number)} for number in range(33)], "spec.scenarios: must have at most 32 items"),
        ([A, {"name": "b", "users": 1}], "spec.scenarios[1]: the scenario has no end"),
        ([{"name": "b", "duration": "1s"}], "spec.scenarios[0]: the scenario has no load"),
        ([A | {"rate": 1}], "spec.scenarios[0]: users and rate exclude each other"),
        ([A, B | {"startTime": "1s", "startAfter": "a"}], "spec.scenarios[1]: startTime and startAfter exclude"),
        ([A | {"startAfter": "a"}], "spec.scenarios: startAfter must be the name of another scenario"),
        ([A | {"startAfter": "c"}, B], "spec.scenarios: startAfter must be the name of another scenario"),
        ([A | {"startAfter": "b"}, B | {"startAfter": "a"}], "spec.scenarios: startAfter goes round in a circle"),
        ([B | {"maxUsers": 1}], "spec: maxUsers must be at least workers.replicas"),
        ([A | {"user": "my class"}], "spec.scenarios[0].user: must be the name of a class"),
    ],
)
def test_scenarios_that_make_no_sense_are_refused_with_one_sentence(scenarios: Any, message: str) -> None:
    (told,) = sentences(load={}, scenarios=scenarios, workers={"replicas": 2})

    assert told.startswith(message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a b": "1"}, "names are letters, digits, dots, dashes and underscores"),
        ({"n" * 129: "1"}, "at most 128 of them"),
        ({"a": 5}, "spec.config.a: must be text; put it in quotes"),
        ({"a": "x" * 4_097}, "must be at most 4096 characters long"),
        ({f"name-{number}": "\u00e9" * 2_048 for number in range(4)}, "together must be at most 16 KiB"),
        ({f"name-{number}": "x" for number in range(65)}, "must have at most 64 entries"),
    ],
)
def test_values_of_a_script_that_are_too_many_or_too_large_are_refused(config: Any, message: str) -> None:
    assert [told for told in sentences(config=config) if message in told]


@pytest.mark.parametrize("written", ["Dns", "dns{", "dns{}", "dns{a}{b}", "", "a b"])
def test_what_is_no_metric_cannot_be_left_out(written: str) -> None:
    assert sentences(results={"metrics": {"drop": [written]}})


def test_scenarios_leave_nothing_to_the_load_but_what_they_share() -> None:
    assert sentences(load={"target": "http://a", "gracefulStop": "1s"}, scenarios=[A, B | {"startAfter": "a"}]) == []
    (told,) = sentences(load={"users": 1}, scenarios=[A])
    assert told.startswith("spec: scenarios have loads of their own")


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

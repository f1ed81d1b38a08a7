import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.spec.digest import edited, files_digest, part_digests, spec_digest
from loadstone_core.spec.fields import SPEC
from loadstone_core.spec.inspection import inspect

SAMPLES = Path(__file__).parents[3] / "contract" / "samples" / "valid.yaml"
SPECS: list[Any] = [one["spec"] for one in yaml.safe_load_all(SAMPLES.read_text(encoding="utf-8"))]
MINIMAL: dict[str, Any] = {"source": {"inline": {"content": "x"}}, "load": {"users": 1, "duration": "10s"}}
FILES = st.dictionaries(st.text(min_size=1, max_size=5), st.binary(max_size=5), max_size=4)


@pytest.mark.parametrize("spec", SPECS)
def test_a_file_and_the_resource_that_it_became_have_one_digest(spec: Any) -> None:
    assert spec_digest(inspect(SPEC, spec, "spec").value) == spec_digest(spec)


@pytest.mark.parametrize(
    "steering",
    [
        {"suspend": True},
        {"stopRun": 2},
        {"trigger": "x"},
        {"load": MINIMAL["load"] | {"paused": True}},
        {"workers": {"replicas": 7}},
        {"workers": {}},
        {"engine": "native"},
    ],
)
def test_what_only_steers_does_not_change_the_digest(steering: dict[str, Any]) -> None:
    assert spec_digest(MINIMAL | steering) == spec_digest(MINIMAL)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "a"},
        {"source": {"inline": {"content": "y"}}},
        {"load": {"users": 2, "duration": "10s"}},
        {"load": {"users": 1, "duration": "10s", "gracefulStop": "1s"}},
        {"env": [{"name": "A", "value": "b"}]},
        {"workers": {"template": {"resources": {"limits": {"cpu": 1}}}}},
        {"thresholds": [{"name": "a", "expr": "failures:rate < 1%"}]},
        {"results": {"percentiles": ["50"]}},
        {"startupTimeout": "1m"},
    ],
)
def test_what_a_run_does_changes_the_digest(change: dict[str, Any]) -> None:
    assert spec_digest(MINIMAL | change) != spec_digest(MINIMAL)


def test_the_digest_does_not_depend_on_the_order_of_fields_and_changes_nothing() -> None:
    spec = {"workers": {"replicas": 2, "template": {"metadata": {"labels": {"a": "b", "c": "d"}}}}} | MINIMAL
    before = copy.deepcopy(spec)
    turned = dict(reversed(list(spec.items())))

    assert spec_digest(turned) == spec_digest(spec)
    assert spec == before


def test_digests_name_their_algorithm() -> None:
    assert spec_digest(MINIMAL).startswith("sha256:")
    assert files_digest({}) == "sha256:" + hashlib.sha256(b"").hexdigest()


def test_the_files_digest_is_what_every_process_computes() -> None:
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in (b"a", b"1", "é".encode(), b""))

    assert files_digest({"é": b"", "a": b"1"}) == "sha256:" + hashlib.sha256(framed).hexdigest()


@given(FILES, FILES)
def test_two_sets_of_files_have_one_digest_only_if_they_are_the_same(
    one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    assert (files_digest(one) == files_digest(other)) == (one == other)


@given(FILES)
def test_the_files_digest_does_not_depend_on_their_order(files: dict[str, bytes]) -> None:
    assert files_digest(dict(reversed(list(files.items())))) == files_digest(files)


def test_a_path_that_is_no_utf8_has_a_digest_too() -> None:
    assert files_digest({"\udcff": b""}) != files_digest({"\udcfe": b""})


def test_moving_bytes_between_path_and_content_changes_the_digest() -> None:
    assert files_digest({"ab": b"c"}) != files_digest({"a": b"bc"})


def test_scenarios_without_a_load_beside_them_have_a_digest() -> None:
    scenarios = {"source": MINIMAL["source"], "scenarios": [{"name": "a", "users": 1, "duration": "1s"}]}

    assert spec_digest(scenarios) == spec_digest(scenarios | {"load": {"paused": True}})


def parts_after(**changes: Any) -> tuple[str, ...]:
    """Return what differs from a spec once it is edited."""
    before = {**MINIMAL, "config": {"a": "1"}, "workers": {"replicas": 2}}
    return edited(part_digests(before), part_digests(before | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"config": {"a": "2"}},
        {"suspend": True, "stopRun": 3, "trigger": "x"},
        {"load": {"users": 9, "spawnRate": 3, "duration": "10s", "paused": True}},
        {"engine": "native"},
    ],
)
def test_what_takes_effect_in_a_run_waits_for_no_other(changes: dict[str, Any]) -> None:
    assert parts_after(**changes) == ()


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"source": {"inline": {"content": "y"}}}, ("source",)),
        ({"load": {"users": 1, "duration": "20s", "target": "http://x"}}, ("load.duration", "load.target")),
        ({"load": {"rate": 1, "duration": "10s"}}, ("load.rate", "load.users")),
        ({"workers": {"replicas": 3}}, ("workers.replicas",)),
        ({"thresholds": [{"name": "a", "expr": "dns:p95 < 1s"}]}, ("thresholds",)),
        (
            {"load": {}, "scenarios": [{"name": "a", "users": 1, "duration": "1s"}]},
            ("load.duration", "load.users", "scenarios.a"),
        ),
    ],
)
def test_what_waits_for_the_next_run_is_named_by_its_path(changes: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert parts_after(**changes) == paths


def test_loads_of_scenarios_are_told_apart_by_what_is_not_aimed_at() -> None:
    def of(**fields: Any) -> dict[str, str]:
        return part_digests({**MINIMAL, "load": {}, "scenarios": [{"name": "a", "duration": "1s", **fields}]})

    assert edited(of(users=1), of(users=5, spawnRate=2)) == ()
    assert edited(of(users=1), of(rate=1)) == ("scenarios.a",)
    assert edited(of(users=1), of(users=1, startTime="1s", tags=["x"])) == ("scenarios.a",)

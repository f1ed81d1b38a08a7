import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.spec.digest import files_digest, spec_digest
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

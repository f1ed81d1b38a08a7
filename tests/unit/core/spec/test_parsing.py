import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.errors import SpecInvalidError
from loadstone_core.spec import defaults
from loadstone_core.spec.model import (
    ConfigMapSource,
    Engine,
    ImageSource,
    InlineSource,
    Load,
    LoadTest,
    LoadTestSpec,
    OnHandlerError,
    OnLoss,
    OnNoData,
    Ramp,
    Results,
    ScenarioSpec,
    Severity,
    Source,
    Stage,
    ThresholdSpec,
    Tls,
    TokenSecret,
    Transport,
    Workers,
)
from loadstone_core.spec.parsing import parse_loadtest, parse_spec, read_loadtest
from loadstone_core.units import MINUTE, SECOND

MINIMAL: dict[str, Any] = {"source": {"inline": {"content": "x"}}, "load": {"users": 1, "duration": "10s"}}
SAMPLES = Path(__file__).parents[3] / "contract" / "samples" / "valid.yaml"
DOCUMENTS: list[Any] = list(yaml.safe_load_all(SAMPLES.read_text(encoding="utf-8")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["30s", "users", "test.py"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["name", "users"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def document(**parts: Any) -> dict[str, Any]:
    whole = {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "checkout"},
        "spec": MINIMAL,
    }
    return whole | parts


def problems_of(value: object, parse: Any = parse_loadtest) -> list[str]:
    with pytest.raises(SpecInvalidError) as caught:
        parse(value)
    return [str(problem) for problem in caught.value.problems]


def test_a_minimal_spec_gets_every_default() -> None:
    load = Load(
        target=None,
        users=1,
        spawn_rate=None,
        rate=None,
        stages=(),
        duration_ns=10 * SECOND,
        iterations=None,
        graceful_stop_ns=30 * SECOND,
        tolerance_ppm=10_000,
    )

    assert parse_spec(MINIMAL) == LoadTestSpec(
        engine=Engine.NATIVE,
        image=None,
        image_pull_policy=None,
        source=Source(InlineSource("x", {}), "test.py"),
        load=load,
        scenarios=(ScenarioSpec(name="default", user=None, start_ns=0, start_after=None, load=load),),
        workers=Workers(1, {}),
        env=(),
        env_from=(),
        thresholds=(),
        stop_run=None,
        suspend=False,
        trigger=None,
        startup_timeout_ns=10 * MINUTE,
        results=Results(("50", "90", "95", "99", "99.9")),
        transport=Transport(tls=Tls.MUTUAL),
    )


def test_a_scenario_has_what_is_its_own_and_shares_the_rest() -> None:
    spec = parse_spec(
        {
            "source": MINIMAL["source"],
            "load": {"target": "http://shop/", "gracefulStop": "7s", "tolerance": "5%"},
            "scenarios": [
                {"name": "a", "users": 2, "duration": "1s", "startTime": "3s"},
                {"name": "b", "user": "Buyer", "rate": 9, "duration": "1s", "maxUsers": 4, "preallocatedUsers": 2}
                | {"target": "http://pay", "gracefulStop": "0s", "startAfter": "a"},
                {"name": "c", "users": 3, "iterationsPerUser": 5},
            ],
        }
    )

    first, second, third = spec.scenarios
    assert (first.name, first.user, first.start_ns, first.start_after) == ("a", None, 3 * SECOND, None)
    assert (first.load.target, first.load.graceful_stop_ns, first.load.users) == ("http://shop", 7 * SECOND, 2)
    assert [spec.load.tolerance_ppm, *(each.load.tolerance_ppm for each in spec.scenarios)] == [50_000] * 4
    assert (second.name, second.user, second.start_after) == ("b", "Buyer", "a")
    assert (second.load.target, second.load.graceful_stop_ns) == ("http://pay", 0)
    assert (second.load.rate, second.load.max_users, second.load.preallocated_users) == (9, 4, 2)
    assert (third.load.users, third.load.iterations_per_user) == (3, 5)


def test_a_full_spec_keeps_all_that_was_written() -> None:
    raw = next(one["spec"] for one in DOCUMENTS if one["metadata"]["name"] == "full")
    spec = parse_spec(raw)

    assert spec.image == "registry.example.com/shop-tests:1"
    assert spec.image_pull_policy == "IfNotPresent"
    assert spec.source.entrypoint == "tests/shop.py"
    assert spec.source.kind == InlineSource(raw["source"]["inline"]["content"], raw["source"]["inline"]["files"])
    assert spec.load.target == "https://shop.example.com:8443/api"
    assert (spec.load.users, spec.load.spawn_rate) == (100, 10)
    assert (spec.load.duration_ns, spec.load.graceful_stop_ns) == (90 * MINUTE, 0)
    assert list(spec.env) == raw["env"]
    assert list(spec.env_from) == raw["envFrom"]
    assert spec.workers == Workers(
        4, raw["workers"]["template"], on_loss=OnLoss.ABORT, max_lost_percent=0, min_available=3
    )
    assert spec.transport.lease_ns == 45 * 10**9
    assert spec.thresholds[1] == ThresholdSpec(
        name="reliable",
        expr="failures:rate < 1%",
        severity=Severity.WARN,
        abort_on_fail=True,
        delay_abort_ns=MINUTE,
        on_no_data=OnNoData.INCONCLUSIVE,
    )
    assert spec.thresholds[2].on_no_data is OnNoData.PASS
    assert (spec.stop_run, spec.suspend, spec.trigger) == (1, True, "3f2a9c1")
    assert spec.startup_timeout_ns == 5 * MINUTE
    assert spec.results.percentiles == ("50", "99.9", "99.999")


def test_what_the_script_gets_and_what_is_done_of_it_is_read() -> None:
    spec = parse_spec(
        {
            "source": {"inline": {"content": "x"}},
            "load": {"shape": {"maxUsers": 9}, "duration": "1m", "tags": ["a", "b"], "excludeTags": ["c"]},
            "config": {"basket-size": "3"},
            "control": {"tokenSecret": {"name": "platform"}},
            "results": {"metrics": {"drop": ["dns", "checks{tier}"]}},
        }
    )

    [scenario] = spec.scenarios
    assert (scenario.tags, scenario.exclude_tags, scenario.load.shape_users) == (("a", "b"), ("c",), 9)
    assert spec.config == {"basket-size": "3"}
    assert spec.control == TokenSecret("platform", "token")
    assert spec.results.dropped == ("dns", "checks{tier}")


def test_stages_and_a_config_map_are_read_in_order() -> None:
    spec = parse_spec(next(one["spec"] for one in DOCUMENTS if one["metadata"]["name"] == "stages"))

    assert spec.source == Source(
        ConfigMapSource("script", (("main", "test.py"), ("users", "data/users.csv"))), "test.py"
    )
    assert spec.load.stages == (
        Stage(30 * SECOND, 100, rate=None, ramp=Ramp.LINEAR),
        Stage(MINUTE, 500, rate=None, ramp=Ramp.STEP),
        Stage(SECOND // 2, 0, rate=None, ramp=Ramp.LINEAR),
    )


def test_a_script_in_the_image_is_run_by_its_path() -> None:
    spec = parse_spec(MINIMAL | {"source": {"image": {"path": "/tests/shop.py"}}})

    assert spec.source == Source(ImageSource("/tests/shop.py"), "/tests/shop.py")


def test_failed_handlers_end_nothing_unless_the_spec_says_so() -> None:
    assert parse_spec(MINIMAL).on_handler_error is OnHandlerError.CONTINUE
    assert parse_spec(MINIMAL | {"onHandlerError": "Fail"}).on_handler_error is OnHandlerError.FAIL
    with pytest.raises(SpecInvalidError, match="onHandlerError"):
        parse_spec(MINIMAL | {"onHandlerError": "Abort"})


def test_an_emptied_trigger_is_no_trigger() -> None:
    assert parse_spec(MINIMAL | {"trigger": ""}).trigger is None


def test_a_whole_loadtest_has_name_namespace_and_the_spec_as_written() -> None:
    raw = copy.deepcopy(MINIMAL)
    loadtest = parse_loadtest(
        document(metadata={"name": "checkout", "namespace": "shop", "labels": {"a": "b"}}, spec=raw)
    )
    raw["load"]["users"] = 2

    assert loadtest == LoadTest("checkout", "shop", spec=parse_spec(MINIMAL), raw_spec=MINIMAL)
    assert parse_loadtest(document()).namespace == defaults.NAMESPACE


def test_what_the_api_server_adds_is_taken() -> None:
    added = {"name": "a", "uid": "1", "managedFields": [{"time": 1}], "creationTimestamp": None}

    assert parse_loadtest(document(metadata=added, status={"phase": "Running"})).name == "a"


@pytest.mark.parametrize(
    ("parts", "sentences"),
    [
        (
            {"apiVersion": "loadstone.dev/v1"},
            ['apiVersion: must be loadstone.dev/v1alpha1, not "loadstone.dev/v1"'],
        ),
        ({"apiVersion": "batch/v1"}, ['apiVersion: must be loadstone.dev/v1alpha1, not "batch/v1"']),
        ({"apiVersion": 1}, ["apiVersion: must be text; put it in quotes"]),
        ({"kind": "Loadtest"}, ['kind: must be LoadTest, not "Loadtest"']),
        ({"metadata": None}, ["metadata: must be a mapping with a name"]),
        ({"metadata": {}}, ["metadata.name: is required: how the LoadTest is called, such as checkout"]),
        ({"metadata": {"name": "A"}}, ["metadata.name: must be lower-case letters, digits and dashes"]),
        ({"metadata": {"name": "a-"}}, ["metadata.name: must be lower-case letters, digits and dashes"]),
        ({"metadata": {"name": ""}}, ["metadata.name: must be lower-case letters, digits and dashes"]),
        ({"metadata": {"name": 5}}, ["metadata.name: must be text; put it in quotes"]),
        (
            {"metadata": {"name": "a" * 53}},
            ["metadata.name: must be at most 52 characters long, because the names of pods are made from it"],
        ),
        (
            {"metadata": {"name": "a", "namespace": "B"}},
            ["metadata.namespace: must be lower-case letters, digits and dashes"],
        ),
        ({"spec": None}, ["spec: is empty; give it a value or leave the field out"]),
        ({"spek": {}}, ["spek: unknown field; did you mean spec?"]),
        ({"odd key": {}}, ['["odd key"]: unknown field; known are apiVersion, kind, metadata, spec, status']),
    ],
)
def test_what_is_wrong_around_the_spec_is_told(parts: dict[str, Any], sentences: list[str]) -> None:
    assert problems_of(document(**parts)) == sentences


def test_an_empty_document_is_told_all_that_it_needs() -> None:
    assert [sentence.partition(":")[0] for sentence in problems_of({})] == ["apiVersion", "kind", "metadata", "spec"]


@pytest.mark.parametrize("value", [None, 5, "x", [], True])
def test_what_is_no_mapping_is_no_loadtest(value: object) -> None:
    assert problems_of(value) == ["document: must be a LoadTest: a mapping with apiVersion, kind and spec"]


def test_every_problem_is_told_at_once() -> None:
    wrong = document(
        kind="Job",
        metadata={"name": "a.b", "namespace": "C"},
        spec={
            "engine": "locust",
            "source": {"inline": {"content": "x"}, "image": {"path": "/x"}},
            "load": {"users": "many", "duraton": "10s"},
            "workers": {"replicas": 0},
            "thresholds": [{"name": "a"}, {"name": "a", "expr": "failures:rate < 1%"}],
        },
    )

    assert [sentence.partition(": ")[0] for sentence in problems_of(wrong)] == [
        "kind",
        "metadata.name",
        "metadata.namespace",
        "spec.engine",
        "spec.source",
        "spec.load.duraton",
        "spec.load.users",
        "spec.workers.replicas",
        "spec.thresholds[0].expr",
        "spec.thresholds[1].name",
    ]


def test_a_spec_by_itself_is_told_by_path_from_spec() -> None:
    assert problems_of({"source": MINIMAL["source"]}, parse_spec) == [
        "spec: the load has no end: set load.duration, iterations, iterationsPerUser or stages, such as duration: 5m",
        "spec: there is no load: set load.users, rate, iterations or stages, such as users: 50, or scenarios",
    ]


@given(JSON)
def test_any_json_is_a_spec_or_told(value: object) -> None:
    with suppress(SpecInvalidError):
        assert isinstance(parse_spec(value), LoadTestSpec)


@given(JSON)
def test_any_json_is_a_loadtest_or_told(value: object) -> None:
    with suppress(SpecInvalidError):
        assert isinstance(parse_loadtest(document(metadata=value, spec=value)), LoadTest)


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, held in entries for place in places_in(held, (*path, key)))]


@given(st.data())
def test_a_valid_document_with_anything_in_any_place_is_taken_or_told(data: st.DataObject) -> None:
    whole = copy.deepcopy(data.draw(st.sampled_from(DOCUMENTS)))
    *above, last = data.draw(st.sampled_from(places_in(whole)[1:]))
    part = whole
    for key in above:
        part = part[key]
    part[last] = data.draw(JSON)

    told = read_loadtest(whole)

    assert (told.loadtest is None) == bool(told.problems)
    for problem in told.problems:
        assert problem.path
        assert str(problem).isprintable()

"""The plan survives its JSON exactly."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.errors import InternalError
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import OnLoss, OnNoData, Severity, ThresholdSpec

times = st.integers(0, 2**63 - 1)
positive = st.integers(1, 2**40)
words = st.text(alphabet='az/:"\\\n\u00e9\U0001f600', max_size=8)

profiles = st.builds(
    lambda duration, first, last, is_endless: Profile(
        (Segment(0, duration, first, last), Segment(duration, 2**63, last, last)), None if is_endless else duration
    ),
    positive,
    st.integers(0, 10**8),
    st.integers(0, 10**8),
    st.booleans(),
)
scenarios = st.builds(
    Scenario,
    name=words,
    load=st.builds(
        LoadProfile,
        st.sampled_from(Model),
        profiles,
        st.none() | positive,
        iterations_per_user=st.none() | positive,
        preallocated_users=times,
        max_users=st.none() | positive,
    ),
    graceful_stop_ns=times,
    user=st.none() | words,
    target=st.none() | words,
    start_ns=st.none() | times,
    start_after=st.none() | words,
)
plans = st.builds(
    RunPlan,
    run=st.builds(RunIdentity, uid=words, loadtest=words, namespace=words, number=positive, epoch=positive),
    spec_digest=words,
    workers=positive,
    engines_per_worker=positive,
    scenarios=st.lists(scenarios, min_size=1, max_size=3).map(tuple),
    tolerance_ppm=positive,
    target=st.none() | words,
    percentiles=st.lists(words, max_size=3).map(tuple),
    thresholds=st.lists(
        st.builds(
            ThresholdSpec,
            name=words,
            expr=words,
            severity=st.sampled_from(Severity),
            abort_on_fail=st.booleans(),
            delay_abort_ns=times,
            on_no_data=st.sampled_from(OnNoData),
        ),
        max_size=2,
    ).map(tuple),
    warm_up_ns=times,
    startup_timeout_ns=times,
    script=st.builds(ScriptRef, digest=st.none() | words, directory=words, entrypoint=words),
    on_loss=st.sampled_from(OnLoss),
    min_available=st.none() | positive,
)

PLAN = RunPlan(
    run=RunIdentity(uid="1234/1", loadtest="checkout", namespace="shop", number=1, epoch=1),
    spec_digest="sha256:ab",
    workers=2,
    engines_per_worker=3,
    scenarios=(
        Scenario(
            name="default",
            load=LoadProfile(Model.RATE, Profile((Segment(0, 10, 5, 5),), 10), None),
            graceful_stop_ns=2,
        ),
    ),
    tolerance_ppm=10_000,
    target=None,
    percentiles=("50",),
    thresholds=(),
    warm_up_ns=3,
    startup_timeout_ns=1,
    script=ScriptRef(digest=None, directory="/scripts", entrypoint="test.py"),
)


@given(plans)
def test_a_plan_comes_back_from_its_json_exactly(plan):
    back = RunPlan.from_json(plan.to_json())

    assert back == plan
    assert all(isinstance(each.load.model, Model) for each in back.scenarios)
    assert back.graceful_stop_ns == max(each.graceful_stop_ns for each in plan.scenarios)
    assert all(isinstance(each.severity, Severity) for each in back.thresholds)


def test_the_same_plan_has_the_same_text():
    assert PLAN.to_json() == replace(PLAN).to_json()
    assert PLAN.to_json() == RunPlan.from_json(PLAN.to_json()).to_json()


def test_the_load_has_a_slot_for_each_engine_of_each_worker():
    assert PLAN.slots == 6


def changed(**fields):
    return json.dumps(json.loads(PLAN.to_json()) | fields)


def with_load(load):
    return changed(scenarios=[{"name": "default", "graceful_stop_ns": 1, "load": load}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        changed(format=1),
        changed(surprise=1),
        changed(run={"uid": "1234/1"}),
        changed(scenarios=[{"name": "default"}]),
        changed(scenarios=[{"load": {"model": "users"}}]),
        with_load({"model": "waves", "iterations": None, "profile": {"segments": [], "end_ns": 0}}),
        with_load({"model": "rate", "iterations": None, "profile": {"segments": [], "end_ns": 5}}),
        changed(thresholds=[{"severity": "Fail"}]),
    ],
)
def test_what_is_no_plan_is_refused_with_what_to_do(text):
    with pytest.raises(InternalError, match=r"run\.json .* one version"):
        RunPlan.from_json(text)

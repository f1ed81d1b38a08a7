"""Laws of planning a run."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.profile import Model
from loadstone_core.load.scenario import scenarios_of
from loadstone_core.load.share import share
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.plan.planner import plan_run
from loadstone_core.spec.model import (
    Engine,
    InlineSource,
    Load,
    LoadTestSpec,
    MasterOnLoss,
    OnHandlerError,
    OnLoss,
    OnNoData,
    Results,
    ScenarioSpec,
    Severity,
    Source,
    ThresholdSpec,
    Tls,
    Transport,
    Workers,
)

SECOND = 1_000_000_000
IDENTITY = RunIdentity(uid="1234/7", loadtest="checkout", namespace="shop", number=7, epoch=1)
SCRIPT = ScriptRef(digest="sha256:cd", directory="/scripts", entrypoint="test.py")
FAST = ThresholdSpec(
    name="fast",
    expr="latency:p95 < 300ms",
    severity=Severity.FAIL,
    abort_on_fail=False,
    delay_abort_ns=10 * SECOND,
    on_no_data=OnNoData.FAIL,
)
LOAD = Load(
    target="http://shop.default",
    users=50,
    spawn_rate=25,
    rate=None,
    stages=(),
    duration_ns=30 * SECOND,
    iterations=None,
    graceful_stop_ns=20 * SECOND,
    warm_up_ns=3,
    tolerance_ppm=10_000,
)


def alone(load):
    return (ScenarioSpec(name="default", user=None, start_ns=0, start_after=None, load=load),)


SPEC = LoadTestSpec(
    engine=Engine.NATIVE,
    image=None,
    image_pull_policy=None,
    source=Source(InlineSource("", {}), "test.py"),
    load=LOAD,
    scenarios=alone(LOAD),
    workers=Workers(2, {}, on_loss=OnLoss.CONTINUE, max_lost_percent=30, min_available=1),
    transport=Transport(lease_ns=60 * SECOND),
    env=(),
    env_from=(),
    thresholds=(FAST,),
    stop_run=None,
    suspend=False,
    trigger=None,
    startup_timeout_ns=600 * SECOND,
    results=Results(("50", "99.9")),
)


def plan(load, workers, room, scenarios=None):
    spec = replace(SPEC, load=load, scenarios=scenarios or alone(load), workers=replace(SPEC.workers, replicas=workers))
    return plan_run(spec, IDENTITY, spec_digest="sha256:ab", script=SCRIPT, engines_per_worker=room)


def test_a_plan_holds_what_the_spec_asks_for():
    assert plan(LOAD, 2, 4) == RunPlan(
        run=IDENTITY,
        spec_digest="sha256:ab",
        workers=2,
        engines_per_worker=4,
        scenarios=scenarios_of(SPEC.scenarios),
        tolerance_ppm=10_000,
        target="http://shop.default",
        percentiles=("50", "99.9"),
        thresholds=(FAST,),
        warm_up_ns=3,
        startup_timeout_ns=600 * SECOND,
        script=SCRIPT,
        on_loss=OnLoss.CONTINUE,
        max_lost_percent=30,
        min_available=1,
        lease_ns=60 * SECOND,
    )


@pytest.mark.parametrize(
    ("asked", "planned"),
    [
        ({"on_handler_error": OnHandlerError.FAIL}, {"fails_on_handler_error": True}),
        ({"master_on_loss": MasterOnLoss.ABORT}, {"master_on_loss": MasterOnLoss.ABORT}),
        ({"transport": Transport(tls=Tls.DISABLED, lease_ns=60 * SECOND)}, {"tls": Tls.DISABLED}),
        ({"config": {"depth": 3}}, {"config": {"depth": 3}}),
    ],
)
def test_what_is_not_as_it_is_by_default_is_so_in_the_plan(asked, planned):
    made = plan_run(
        replace(SPEC, load=LOAD, **asked), IDENTITY, spec_digest="sha256:ab", script=SCRIPT, engines_per_worker=4
    )
    assert made == replace(plan(LOAD, 2, 4), **planned)
    assert made != plan(LOAD, 2, 4)


@pytest.mark.parametrize(
    ("workers", "percent", "allowed"), [(1, 20, 0), (2, 100, 1), (3, 20, 1), (10, 20, 2), (11, 20, 3), (9, 0, 0)]
)
def test_a_share_of_the_workers_is_rounded_up_and_all_may_never_be_lost(workers, percent, allowed):
    assert replace(plan(LOAD, 1, 1), max_lost_percent=percent).most_lost(workers) == allowed


def test_only_a_run_that_counts_iterations_keeps_its_workers():
    counted = replace(LOAD, users=5, spawn_rate=None, iterations=10)
    assert plan(LOAD, 2, 1).can_resize
    assert not plan(counted, 2, 1).can_resize


@pytest.mark.parametrize("on_loss", OnLoss)
def test_load_moves_where_it_is_redistributed_and_where_workers_are_replaced(on_loss):
    is_moved = on_loss in {OnLoss.REDISTRIBUTE, OnLoss.REPLACE}
    assert replace(plan(LOAD, 2, 1), on_loss=on_loss).moves_load == is_moved


@given(st.integers(0, 500), st.integers(1, 50), st.integers(0, 16))
def test_no_worker_gets_more_engines_than_its_room_or_its_share(users, workers, room):
    engines = plan(replace(LOAD, users=users), workers, room).engines_per_worker

    assert 1 <= engines <= max(1, room)
    assert engines <= max(1, share(users, 0, workers))


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 16))
def test_the_shares_of_all_slots_sum_to_the_load_at_every_step(users, workers, room):
    made = plan(replace(LOAD, users=users), workers, room)

    for at in range(0, 4 * SECOND, SECOND // 3):
        whole = made.scenarios[0].load.profile.value_at(at)
        assert sum(share(whole, slot, made.slots) for slot in range(made.slots)) == whole


@pytest.mark.parametrize(("iterations", "engines"), [(1_000, 4), (3, 2), (1, 1)])
def test_no_engine_waits_for_an_iteration_that_never_comes(iterations, engines):
    made = plan(replace(LOAD, iterations=iterations), 2, 4)

    assert made.scenarios[0].load.model is Model.ITERATIONS
    assert made.engines_per_worker == engines


def test_engines_of_an_open_model_share_its_rate():
    assert plan(replace(LOAD, users=None, spawn_rate=None, rate=3), 2, 8).engines_per_worker == 2


def test_engines_of_an_open_model_each_have_a_user():
    rate = replace(LOAD, users=None, spawn_rate=None, rate=300, max_users=4)

    assert plan(rate, 2, 8).engines_per_worker == 2


def test_scenarios_have_engines_for_all_of_them_together():
    first, second = alone(replace(LOAD, users=2))[0], alone(replace(LOAD, users=None, spawn_rate=None, rate=4))[0]
    made = plan(LOAD, 2, 8, scenarios=(first, replace(second, name="second")))

    assert made.engines_per_worker == 3
    assert made.graceful_stop_ns == 20 * SECOND


def test_a_plan_has_what_the_script_gets_and_room_for_its_shape():
    shaped = replace(LOAD, users=None, spawn_rate=None, shape_users=6)
    results = replace(SPEC.results, dropped=("dns",))
    scenarios = (replace(alone(shaped)[0], tags=("a",), exclude_tags=("b",)),)
    spec = replace(SPEC, load=shaped, scenarios=scenarios, config={"size": "3"}, results=results)
    made = plan_run(spec, IDENTITY, spec_digest="x", script=SCRIPT, engines_per_worker=100)

    assert (made.is_shaped, made.config, made.dropped) == (True, {"size": "3"}, ("dns",))
    assert made.engines_per_worker == share(6, 0, made.workers)
    assert (made.scenarios[0].tags, made.scenarios[0].exclude_tags) == (("a",), ("b",))
    assert RunPlan.from_json(made.to_json()) == made
    assert not plan(LOAD, 1, 1).is_shaped

"""Laws of several loads in one run: when each begins and ends."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment, profile_of
from loadstone_core.load.scenario import Scenario, begun_after, end_of, scenarios_of
from loadstone_core.spec.model import Load, ScenarioSpec

SECOND = 1_000_000_000


def scenario(name, seconds, *, model=Model.USERS, **fields):
    segment = Segment(0, (seconds or 1) * SECOND if seconds else 2**63 - 1, 3, 3)
    profile = Profile((segment,), seconds * SECOND if seconds else None)
    iterations = 9 if model is Model.ITERATIONS else None
    return Scenario(name=name, load=LoadProfile(model, profile, iterations), graceful_stop_ns=0, **fields)


def after(name, other, seconds, **fields):
    return scenario(name, seconds, start_ns=None, start_after=other, **fields)


@given(st.permutations([scenario("a", 5), after("b", "a", 7), after("c", "b", 2), after("d", "a", 1)]))
def test_a_chain_of_scenarios_begins_link_by_link_in_whatever_order_they_stand(scenarios):
    begun = {each.name: each for each in begun_after(tuple(scenarios), {})}

    assert {name: each.start_ns for name, each in begun.items()} == {
        "a": 0,
        "b": 5 * SECOND,
        "c": 12 * SECOND,
        "d": 5 * SECOND,
    }
    assert [each.name for each in begun_after(tuple(scenarios), {})] == [each.name for each in scenarios]
    assert end_of(tuple(begun.values())) == 14 * SECOND


def test_the_end_of_iterations_is_known_when_they_are_done_and_not_before():
    scenarios = (scenario("a", 60, model=Model.ITERATIONS), after("b", "a", 5))

    waiting = begun_after(scenarios, {})
    assert waiting[1].start_ns is None
    assert end_of(waiting) is None
    begun = begun_after(waiting, {"a": 3 * SECOND})
    assert begun[1].start_ns == 3 * SECOND
    assert end_of(begun) == 60 * SECOND
    assert begun_after(begun, {"a": 4 * SECOND}) == begun


def test_a_scenario_plans_nothing_before_it_begins_and_all_of_it_in_all():
    late = scenario("a", 10, start_ns=4 * SECOND)

    assert [late.planned(at * SECOND) for at in (0, 4, 5, 14, 99)] == [0, 0, 3, 30, 30]
    assert late.planned_user_ns(5 * SECOND) == Fraction(3 * SECOND)
    assert late.planned_user_ns(4 * SECOND) == 0
    waiting = after("b", "a", 10)
    assert (waiting.planned(), waiting.planned(SECOND), waiting.planned_user_ns(SECOND)) == (30, 0, 0)
    assert late.planned_user_ns(7 * SECOND, since_ns=5 * SECOND) == late.planned_user_ns(6 * SECOND) == 6 * SECOND
    assert [late.steady_until(at * SECOND) for at in (0, 4, 13)] == [4 * SECOND, 14 * SECOND, 14 * SECOND]
    assert waiting.steady_until(0) == FOREVER_NS
    assert (late.end_ns, waiting.end_ns, scenario("c", 0).end_ns) == (14 * SECOND, None, None)
    assert scenario("d", 9, model=Model.ITERATIONS).foreseen_end_ns is None


def test_scenarios_of_a_spec_have_its_loads_and_known_starts():
    load = Load(
        target="http://shop",
        users=3,
        spawn_rate=None,
        rate=None,
        stages=(),
        duration_ns=5 * SECOND,
        iterations=None,
        graceful_stop_ns=7,
        tolerance_ppm=0,
    )
    first = ScenarioSpec(name="a", user="Buyer", start_ns=SECOND, start_after=None, load=load)
    second = ScenarioSpec(name="b", user=None, start_ns=0, start_after="a", load=replace(load, target=None))

    made = scenarios_of([first, second])
    assert made[0] == Scenario(
        name="a", load=profile_of(load), graceful_stop_ns=7, user="Buyer", target="http://shop", start_ns=SECOND
    )
    assert (made[1].start_ns, made[1].start_after, made[1].target) == (6 * SECOND, "a", None)

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.change import Aim
from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_runner.master.course import Course

LEAD = SECOND // 10


def timed(name: str, seconds: int, **fields: object) -> Scenario:
    load = LoadProfile(Model.USERS, Profile((Segment(0, seconds * SECOND, 1, 1),), seconds * SECOND), None)
    return replace(Scenario(name=name, load=load, graceful_stop_ns=0), **fields)  # type: ignore[arg-type]


def counted(name: str, **fields: object) -> Scenario:
    load = LoadProfile(Model.ITERATIONS, Profile((Segment(0, FOREVER_NS, 1, 1),), None), 5)
    return replace(Scenario(name=name, load=load, graceful_stop_ns=0), **fields)  # type: ignore[arg-type]


def advance(course: Course, at_ns: int, done: tuple[int, ...] = ()) -> bool:
    return course.advance(at_ns, is_done=done.__contains__, lead_ns=LEAD)


def test_time_ends_a_scenario_without_a_word_to_its_engines() -> None:
    course = Course((timed("a", 2), timed("b", 5)))

    assert not advance(course, 2 * SECOND)
    assert not course.is_over
    assert not advance(course, 5 * SECOND)
    assert course.is_over
    assert course.bound_ns == 5 * SECOND


def test_iterations_that_are_done_end_their_scenario_and_begin_the_one_that_waits() -> None:
    course = Course((counted("a"), timed("b", 5, start_ns=None, start_after="a"), timed("c", 60)))

    assert course.bound_ns == FOREVER_NS
    assert not advance(course, SECOND)
    assert advance(course, 3 * SECOND, done=(0,))
    first, second, third = course.scenarios
    assert (first.is_over, second.start_ns, third) == (True, 3 * SECOND + LEAD, timed("c", 60))
    assert not advance(course, 4 * SECOND, done=(0,))
    assert not advance(course, 9 * SECOND, done=(0,))
    assert not course.is_over
    advance(course, 60 * SECOND, done=(0,))
    assert course.is_over


def test_what_has_not_begun_is_not_over() -> None:
    course = Course((counted("a", start_ns=5 * SECOND), counted("b", start_ns=None, start_after="a")))

    assert not advance(course, SECOND, done=(0, 1))
    assert advance(course, 6 * SECOND, done=(0, 1))
    assert [each.is_over for each in course.scenarios] == [True, False]
    advance(course, 7 * SECOND, done=(0, 1))
    assert course.is_over


def test_iterations_whose_time_is_over_let_the_next_begin_with_a_lead() -> None:
    bounded = timed("a", 2)
    bounded = replace(bounded, load=replace(bounded.load, model=Model.ITERATIONS, iterations=9))
    course = Course((bounded, timed("b", 5, start_ns=None, start_after="a")))

    assert advance(course, 2 * SECOND + 5)
    assert course.scenarios[1].start_ns == 2 * SECOND + 5 + LEAD
    assert not course.scenarios[0].is_over


@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.sets(st.integers(0, 2))), max_size=12))
def test_a_start_once_said_never_moves_and_over_stays_over(history: list[tuple[int, set[int]]]) -> None:
    course = Course((counted("a"), counted("b", start_ns=None, start_after="a"), timed("c", 9, start_ns=SECOND)))
    for at_ns, done in sorted(history, key=lambda each: each[0]):
        before = course.scenarios
        advance(course, at_ns, tuple(done))
        for old, new in zip(before, course.scenarios, strict=True):
            assert old.start_ns is None or new.start_ns == old.start_ns
            assert new.is_over or not old.is_over


def steer(course: Course, at_s: float, *aims: Aim, is_paused: bool = False) -> bool:
    return course.steer(aims, is_paused=is_paused, at_ns=round(at_s * SECOND))


def test_a_pause_stops_the_time_of_every_scenario_and_what_is_left_is_done_after_it() -> None:
    after = timed("c", 5, start_ns=10 * SECOND, start_after="a")
    course = Course((timed("a", 10), timed("b", 5, start_ns=8 * SECOND), after))
    advance(course, SECOND)

    assert steer(course, 4, is_paused=True)
    assert not steer(course, 5, is_paused=True)
    assert (course.is_paused, course.bound_ns) == (True, FOREVER_NS)
    assert [each.load.profile.peak for each in course.scenarios] == [0, 1, 1]
    assert [each.start_ns for each in course.scenarios] == [4 * SECOND, None, None]
    assert not advance(course, 60 * SECOND)
    assert steer(course, 64)

    assert [each.start_ns for each in course.scenarios] == [64 * SECOND, 68 * SECOND, 70 * SECOND]
    assert [each.end_ns for each in course.scenarios] == [70 * SECOND, 73 * SECOND, 75 * SECOND]
    assert (course.is_paused, course.idle_ns(99 * SECOND)) == (False, 60 * SECOND)


def test_a_run_that_begins_paused_asks_for_nothing_before_it_is_resumed() -> None:
    course = Course((timed("a", 10), timed("b", 5, start_ns=2 * SECOND)))

    assert steer(course, 0, is_paused=True)
    assert [each.start_ns for each in course.scenarios] == [None, None]
    assert steer(course, 30)
    assert [each.start_ns for each in course.scenarios] == [30 * SECOND, 32 * SECOND]


def test_an_aim_counts_once_and_from_then_on() -> None:
    course = Course((timed("a", 10), timed("b", 10, start_ns=20 * SECOND)))

    assert steer(course, 4, Aim("a", 7), Aim("b", 3, 1), Aim("unknown", 5))
    assert not steer(course, 5, Aim("a", 7), Aim("b", 3, 1))
    first, second = course.scenarios
    assert (first.start_ns, first.end_ns, first.load.profile.value_at(0)) == (4 * SECOND, 10 * SECOND, 7)
    assert (second.start_ns, second.end_ns, second.load.profile.value_at(SECOND)) == (20 * SECOND, 30 * SECOND, 1)
    advance(course, 10 * SECOND)
    assert not steer(course, 11, Aim("a", 9), Aim("b", 3, 1))


def test_another_spawn_rate_counts_at_once_while_users_come() -> None:
    course = Course((timed("a", 100),))
    steer(course, 1, Aim("a", 21, 2))

    assert steer(course, 6, Aim("a", 21, 5))
    assert not steer(course, 7, Aim("a", 21, 5))
    [scenario] = course.scenarios
    assert scenario.start_ns == 6 * SECOND
    assert [scenario.load.profile.value_at(second * SECOND) for second in range(4)] == [11, 16, 21, 21]


def test_an_aim_counts_also_while_users_come_that_would_not_all_be_there_before_the_end() -> None:
    course = Course((timed("a", 60),))
    assert course.steer([Aim("a", 5_000, 10)], is_paused=False, at_ns=10 * SECOND)
    assert course.scenarios[0].load.profile.value_at(50 * SECOND) == 501

    assert course.steer([Aim("a", 2, 10)], is_paused=False, at_ns=30 * SECOND)

    assert course.scenarios[0].load.profile.value_at(0) == 2


def test_after_a_pause_users_come_back_as_fast_as_they_are_to_come() -> None:
    course = Course((timed("a", 100), timed("b", 100)))
    steer(course, 1, Aim("a", 11, 5))
    steer(course, 50, Aim("a", 11, 5), is_paused=True)

    steer(course, 60, Aim("a", 11, 5))
    first, second = course.scenarios
    assert [first.load.profile.value_at(seconds * SECOND) for seconds in range(4)] == [0, 5, 10, 11]
    assert second.load.profile.value_at(0) == 1
    assert first.end_ns == second.end_ns == 110 * SECOND


def test_a_value_of_another_kind_is_not_for_this_run() -> None:
    course = Course((timed("a", 10),))

    assert not steer(course, 1, Aim("a", 500, is_rate=True))


def test_a_load_that_a_shape_leads_ends_when_it_says_so_and_nothing_is_planned_after_it() -> None:
    course = Course((replace(timed("a", 100), load=replace(timed("a", 100).load, is_shaped=True)), timed("b", 30)))
    steer(course, 1, Aim("a", 7, 7))

    assert course.conclude(20 * SECOND)
    assert not course.conclude(21 * SECOND)
    assert course.scenarios[0].end_ns == 20 * SECOND + 1
    assert course.scenarios[0].planned() == 0
    assert course.scenarios[1] == timed("b", 30)
    advance(course, 30 * SECOND)
    assert course.is_over


def test_an_aim_that_comes_in_a_pause_counts_after_it() -> None:
    course = Course((timed("a", 10),))
    steer(course, 4, is_paused=True)

    assert not steer(course, 5, Aim("a", 7), is_paused=True)
    assert steer(course, 6, Aim("a", 7))
    [scenario] = course.scenarios
    assert (scenario.start_ns, scenario.end_ns, scenario.load.profile.value_at(0)) == (6 * SECOND, 12 * SECOND, 7)


def test_the_iterations_of_a_rate_are_numbered_on_whatever_changes() -> None:
    profile = Profile((Segment(0, 10 * SECOND, 10, 10),), 10 * SECOND)
    rate = Scenario(name="a", load=LoadProfile(Model.RATE, profile, None), graceful_stop_ns=0)
    course = Course((rate,))

    steer(course, 2, Aim("a", 20, is_rate=True))
    assert course.scenarios[0].first_iteration == 20
    steer(course, 3, Aim("a", 20, is_rate=True), is_paused=True)
    assert course.scenarios[0].first_iteration == 40
    steer(course, 9, Aim("a", 20, is_rate=True))
    assert course.scenarios[0].first_iteration == 40
    steer(course, 10, Aim("a", 1, is_rate=True))
    assert course.scenarios[0].first_iteration == 60


def test_what_is_about_to_end_ends() -> None:
    course = Course((timed("a", 10),))

    assert not steer(course, 10, Aim("a", 7))
    assert not steer(course, 10, is_paused=True)
    assert course.scenarios == (timed("a", 10),)

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.stream import StreamId
from loadstone_core.units import SECOND
from loadstone_runner.master.account import SECONDS_OPEN, SPANS_AT_ONCE, Account, Iterations, Saturation, UserSeconds

ONE, TWO = StreamId(0, 1, 0, 1), StreamId(1, 1, 0, 1)
MILLISECOND = 1_000_000


def constant(users: int, seconds: int) -> Profile:
    return Profile((Segment(0, seconds * SECOND, users, users),), seconds * SECOND)


def scenario_of(profile: Profile, start_ns: int = 0, model: Model = Model.USERS) -> Scenario:
    load = LoadProfile(model, profile, None)
    return Scenario(name="default", load=load, graceful_stop_ns=0, start_ns=start_ns)


def see(counted: UserSeconds, stream: StreamId, second: int, users: int, *, sequence: int = 0, is_final: bool = False):
    """Let a stream report as an engine does that never stood still: the state that closes second 0 is its first."""
    counted.observe(stream, second, users, sequence=sequence or second + 1, is_final=is_final)


def test_users_that_are_there_every_second_are_achieved_to_the_unit() -> None:
    counted = UserSeconds(scenario_of(constant(10, 300)))
    for second in range(300):
        see(counted, ONE, second, 4)
        see(counted, TWO, second, 6 if second < 299 else 0)  # they leave within the last second

    assert counted.achieved_ns(300 * SECOND) == 3000 * SECOND


def test_a_ramp_is_never_held_against_an_engine() -> None:
    ramp = Profile((Segment(0, 10 * SECOND, 0, 20), Segment(10 * SECOND, 10 * SECOND, 20, 0)), 20 * SECOND)
    counted = UserSeconds(scenario_of(ramp))
    for second in range(20):
        see(counted, ONE, second, ramp.value_at((second + 1) * SECOND))

    assert counted.achieved_ns(20 * SECOND) == ramp.whole_integral(20 * SECOND)


def test_more_users_than_planned_achieve_no_more_than_planned() -> None:
    counted = UserSeconds(scenario_of(constant(5, 3)))
    for second in range(3):
        see(counted, ONE, second, 50)

    assert counted.achieved_ns(3 * SECOND) == 15 * SECOND


def test_a_lost_worker_is_missing_from_its_last_word_on() -> None:
    counted = UserSeconds(scenario_of(constant(10, 20)))
    for second in range(20):
        see(counted, ONE, second, 5)
        if second < 8:
            see(counted, TWO, second, 5)

    assert counted.achieved_ns(20 * SECOND) == (20 * 5 + 8 * 5) * SECOND


def test_seconds_whose_report_was_lost_hold_the_smaller_of_both_ends() -> None:
    counted = UserSeconds(scenario_of(constant(10, 10)))
    see(counted, ONE, 0, 10)
    see(counted, ONE, 5, 4)
    see(counted, ONE, 3, 10)  # late, and known better already

    assert counted.achieved_ns(10 * SECOND) == (10 + 4 * 4 + 4) * SECOND


def test_the_last_report_of_an_engine_does_not_say_that_it_had_no_users_before() -> None:
    counted = UserSeconds(scenario_of(constant(10, 10)))
    for second in range(9):
        see(counted, ONE, second, 10)
    see(counted, ONE, 10, 0, sequence=10, is_final=True)

    assert counted.achieved_ns(10 * SECOND) == 100 * SECOND


def test_seconds_for_which_an_engine_has_made_no_report_achieved_nothing() -> None:
    counted = UserSeconds(scenario_of(constant(10, 60)))
    for second, sequence in ((0, 1), (1, 2), (22, 3), (22, 4), (24, 6), (60, 7)):
        see(counted, ONE, second, 10, sequence=sequence, is_final=second == 60)

    # 0 and 1, then it stood still; 22, 23 whose report was lost, 24; then it stood still but for the last second.
    assert counted.achieved_ns(60 * SECOND) == (2 + 3 + 1) * 10 * SECOND


class Walked:
    """The same as UserSeconds by its definition: second by second."""

    def __init__(self, scenario: Scenario, warm_up_ns: int) -> None:
        self.loads = [(scenario, 2**63)]
        self.warm_up_ns = warm_up_ns
        self.live: dict[int, int] = {}
        self.seen: dict[StreamId, tuple[int, int, int]] = {}
        self.closed = 0
        self.is_open = False

    def follow(self, scenario: Scenario) -> None:
        self.loads[-1] = (self.loads[-1][0], scenario.start_ns)
        self.loads.append((scenario, 2**63))

    def observe(self, stream: StreamId, second: int, users: int, *, sequence: int, is_final: bool = False) -> None:
        last, before, number = self.seen.get(stream, (-1, 0, 0))
        lost = max(0, sequence - number - 1)
        if second <= last:
            self.seen[stream] = (last, before, max(number, sequence))
            return
        stood_still = max(0, second - last - 1 - lost - is_final)
        counts = dict.fromkeys(range(last + 1 + stood_still, second), before if is_final else min(before, users))
        counts[second] = max(users, before if last == second - 1 else 0)
        for each, live in counts.items():
            if each >= self.closed:
                self.live[each] = self.live.get(each, 0) + live
        self.seen[stream] = (second, users, max(number, sequence))
        if not self.is_open:
            self.closed = max(self.closed, second - SECONDS_OPEN)

    def achieved_ns(self, until_ns: int) -> int:
        achieved_ns = 0
        for second, live in self.live.items():
            start_ns, end_ns = max(second * SECOND, self.warm_up_ns), min((second + 1) * SECOND, until_ns)
            if start_ns < end_ns:
                planned_ns = sum(
                    load.planned_user_ns(min(end, end_ns)) - load.planned_user_ns(min(end, start_ns))
                    for load, end in self.loads
                )
                achieved_ns += min(int(planned_ns), live * (end_ns - start_ns))
        return achieved_ns


users_and_seconds = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 400 * SECOND))
moment_ns = st.one_of(st.integers(0, 900 * SECOND), st.integers(0, 900).map(lambda second: second * SECOND))


def staged(stages: list[tuple[int, int, int]]) -> Profile:
    segments, reached_ns = [], 0
    for before, after, duration_ns in stages:
        segments.append(Segment(reached_ns, duration_ns, before, after))
        reached_ns += duration_ns
    return Profile(tuple(segments), reached_ns)


profiles = st.lists(users_and_seconds, max_size=4).map(staged)
reports = st.tuples(
    st.sampled_from([ONE, TWO]), st.integers(0, 300), st.integers(0, 9), st.integers(1, 300), st.booleans()
)


@pytest.mark.promise("master-restart")
@settings(max_examples=300)
@given(
    loads=st.lists(st.tuples(profiles, st.integers(0, 900 * SECOND)), min_size=1, max_size=3),
    warm_up_ns=st.one_of(st.just(0), moment_ns),
    told=st.lists(reports, max_size=12),
    opens=st.integers(0, 12),
    until_ns=moment_ns,
    again=st.booleans(),
)
def test_spans_of_seconds_count_as_much_as_their_seconds_one_by_one(
    *, loads, warm_up_ns, told, opens, until_ns, again
) -> None:
    loads = sorted(loads, key=lambda each: each[1])
    first = scenario_of(loads[0][0], loads[0][1])
    counted, walked = UserSeconds(first, warm_up_ns), Walked(first, warm_up_ns)
    counted.is_open = walked.is_open = opens > 0
    second, sequences = 0, {ONE: 0, TWO: 0}
    for turn, (stream, later, users, number, is_final) in enumerate(told):
        # What changes does so in seconds that are open, and after what changed before.
        if 0 < turn < len(loads) and loads[turn][1] > max(walked.loads[-1][0].start_ns, walked.closed * SECOND):
            for each in (counted, walked):
                each.follow(scenario_of(loads[turn][0], loads[turn][1]))
        if turn == opens:
            counted.is_open = walked.is_open = False
        second = max(0, second + later - 20)
        sequences[stream] += number
        for each in (counted, walked):
            each.observe(stream, second, users, sequence=sequences[stream], is_final=is_final)
        if again:
            recalled = UserSeconds(first, warm_up_ns)
            recalled.is_open = counted.is_open
            recalled.recall_plan(json.loads(json.dumps(counted.remember_plan())))
            recalled.recall(json.loads(json.dumps(counted.remember())))
            counted = recalled
    until_ns = max(until_ns, walked.closed * SECOND)
    assert counted.peak == max([0, *walked.live.values()])
    assert counted.achieved_ns(until_ns) == walked.achieved_ns(until_ns)


def test_a_month_that_is_told_at_once_is_counted_in_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    planned = Scenario.planned_user_ns
    monkeypatch.setattr(Scenario, "planned_user_ns", lambda *args, **more: calls.append(1) or planned(*args, **more))
    month = 30 * 86_400
    ramp = Segment(0, 100 * SECOND, 0, 50), Segment(100 * SECOND, month * SECOND, 50, 50)
    counted = UserSeconds(scenario_of(Profile(ramp, month * SECOND)))
    counted.is_open = True
    for stream in (ONE, TWO):
        see(counted, stream, 0, 20)
        counted.observe(stream, month - 1, 20, sequence=month)
    assert len(counted._steps) <= 4
    counted.is_open = False
    see(counted, ONE, month, 20)

    assert counted._settled == month - SECONDS_OPEN
    assert len(calls) < 300
    assert counted.achieved_ns(month * SECOND) == counted._sum_ns + SECONDS_OPEN * 40 * SECOND


def test_seconds_of_a_ramp_that_are_told_at_once_are_settled_in_parts() -> None:
    seconds = 2_000
    counted = UserSeconds(scenario_of(Profile((Segment(0, seconds * SECOND, 0, 9 * seconds),), seconds * SECOND)))
    counted.is_open = True
    see(counted, ONE, 0, 9)
    see(counted, ONE, seconds - 1, 9, sequence=seconds)
    counted.is_open = False
    before, reached = counted.achieved_ns(seconds * SECOND), []
    for later in range(20):
        see(counted, ONE, seconds + later, 0)
        reached.append(counted._settled)
    see(counted, TWO, 100, 9, sequence=101)

    assert max(after - before for before, after in pairwise([0, *reached])) <= SPANS_AT_ONCE
    assert reached[-1] == seconds + 19 - SECONDS_OPEN
    assert counted.achieved_ns(seconds * SECOND) == before


def test_users_that_a_master_of_an_earlier_release_kept_by_the_second_are_counted_on() -> None:
    counted, held = UserSeconds(scenario_of(constant(9, 60))), {"seen": [], "gone": [], "settled": [2, 5, 7]}
    counted.recall({**held, "live": [[2, 4], [3, 0], [5, 6]]})

    assert (counted.peak, counted.achieved_ns(60 * SECOND)) == (7, 5 + 10 * SECOND)


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(0, 300), st.integers(0, 9)), max_size=60))
def test_the_achieved_load_is_never_above_the_planned_one(seen: list[tuple[StreamId, int, int]]) -> None:
    profile, counted, before = constant(5, 300), UserSeconds(scenario_of(constant(5, 300))), 0
    for stream, second, users in seen:
        see(counted, stream, second, users)
        achieved = counted.achieved_ns(300 * SECOND)
        assert before <= achieved <= profile.whole_integral(300 * SECOND)
        before = achieved


def test_a_stopped_load_counts_up_to_its_stop_and_memory_stays_bounded() -> None:
    counted = UserSeconds(scenario_of(constant(2, 5000)))
    for second in range(1000):
        see(counted, ONE, second, 2)

    assert counted.achieved_ns(999 * SECOND + SECOND // 2) == 1999 * SECOND
    assert len(counted._steps) <= 2


@pytest.mark.parametrize("model", [Model.USERS, Model.ITERATIONS])
def test_loads_of_long_ago_are_not_kept_however_often_a_run_is_paused(model: Model) -> None:
    counted = UserSeconds(scenario_of(constant(2, 9000), model=model))
    for second in range(2000):
        see(counted, ONE, second, 2)
        if second % 100 == 0:
            counted.follow(scenario_of(constant(2, 9000), start_ns=second * SECOND + 1, model=model))

    assert len(counted.remember_plan()["past"]) <= 2


steady = st.integers(1, 9).map(lambda users: staged([(users, users, 4_000 * SECOND)]))


@pytest.mark.promise("master-restart")
@settings(max_examples=200)
@given(
    loads=st.lists(st.tuples(st.one_of(steady, profiles), st.integers(0, 900 * SECOND)), min_size=1, max_size=3),
    told=st.lists(reports, min_size=4, max_size=12),
    leaves=st.integers(3, 12),
    until_ns=moment_ns,
)
def test_a_master_in_another_pod_counts_what_this_one_would_have(*, loads, told, leaves, until_ns) -> None:
    loads = sorted(loads, key=lambda each: each[1])
    first = scenario_of(loads[0][0], loads[0][1])
    counted, there, said = UserSeconds(first), None, []
    second, sequences, since_ns = 0, {ONE: 0, TWO: 0}, loads[0][1]
    for turn, (stream, later, users, number, _) in enumerate(told):
        if 0 < turn < len(loads) and loads[turn][1] > max(since_ns, counted._closed * SECOND):
            since_ns = loads[turn][1]
            for each in filter(None, (counted, there)):
                each.follow(scenario_of(loads[turn][0], since_ns))
        if turn == leaves:
            while counted._settled < counted._closed:
                counted._settle(counted._closed)
            there = UserSeconds(first)
            there.is_open = True
            there.recall_plan(json.loads(json.dumps(counted.remember_plan())))
            for before in said:
                there.observe(*before[:3], sequence=before[3])
            there.is_open = False
        second = max(0, second + later - 20)
        sequences[stream] += number
        said.append((stream, second, users, sequences[stream]))
        for each in filter(None, (counted, there)):
            each.observe(stream, second, users, sequence=sequences[stream])
    if there is not None:
        until_ns = max(until_ns, counted._closed * SECOND)
        assert (there.planned(), there.peak) == (counted.planned(), counted.peak)
        assert there.achieved_ns(until_ns) == counted.achieved_ns(until_ns)


def test_what_was_asked_for_may_have_been_kept_after_what_was_counted() -> None:
    counted = UserSeconds(scenario_of(constant(2, 9000)))
    for second in range(1000):
        see(counted, ONE, second, 2)
        if second == 100:
            counted.follow(scenario_of(constant(4, 9000), start_ns=100 * SECOND))
        if second == 210:
            held = json.loads(json.dumps(counted.remember()))
    recalled = UserSeconds(scenario_of(constant(2, 9000)))
    recalled.recall_plan(json.loads(json.dumps(counted.remember_plan())))
    recalled.recall(held)
    for second in range(211, 1000):
        see(recalled, ONE, second, 2)

    assert (recalled.planned(), recalled.peak) == (counted.planned(), counted.peak)
    assert recalled.achieved_ns(1000 * SECOND) == counted.achieved_ns(1000 * SECOND) == 2000 * SECOND


def test_iterations_are_those_of_the_newest_counters_of_each_stream() -> None:
    counted = Iterations()
    for stream, started in ((ONE, 5), (TWO, 7), (ONE, 9), (ONE, 6)):
        counted.observe(stream, started, started - 1)

    assert (counted.started, counted.completed) == (16, 14)
    assert {worker: counted.completed_by(worker, 1) for worker in (ONE.worker, TWO.worker, 9)} == {
        ONE.worker: 8,
        TWO.worker: 6,
        9: 0,
    }


def test_a_second_is_saturated_once_however_many_engines_are_late() -> None:
    saturation = Saturation()
    saturation.observe(1, 100 * MILLISECOND, 0)
    for second, lag, slip in ((2, 101, 0), (2, 300, 0), (3, 0, 101)):
        saturation.observe(second, lag * MILLISECOND, slip * MILLISECOND)

    assert saturation.seconds(99) == 2


def test_a_scenario_that_begins_later_is_planned_and_achieved_from_then_on() -> None:
    late = scenario_of(constant(4, 10), start_ns=5 * SECOND // 2)
    counted = UserSeconds(late)
    for second in range(13):
        see(counted, ONE, second, 4 if second >= 2 else 0)

    assert counted.achieved_ns(20 * SECOND) == 40 * SECOND
    assert counted.peak == 4


def test_a_warm_up_is_neither_planned_nor_achieved() -> None:
    account = Account(scenario_of(constant(4, 10), start_ns=2 * SECOND), place=0, warm_up_ns=5 * SECOND // 2)
    for second in range(12):
        see(account.user_seconds, ONE, second, 4 if second >= 2 else 0)

    assert account.planned() == account.achieved(12 * SECOND) == 38


def test_a_scenario_is_as_far_as_its_time_says() -> None:
    account = Account(scenario_of(constant(1, 10), start_ns=10 * SECOND), place=0)

    assert [account.percent(at * SECOND) for at in (5, 10, 15, 30)] == [0, 0, 50, 100]
    assert Account(replace(account.scenario, is_over=True), place=0).percent(1) == 100


def test_planned_and_achieved_follow_the_history_of_what_was_asked() -> None:
    account = Account(scenario_of(constant(4, 10)), place=0)
    counted = account.user_seconds
    users = [4] * 3 + [0] * 5 + [9] * 7
    for second, live in enumerate(users):
        if second == 3:
            counted.follow(scenario_of(Profile((Segment(0, 2**63 - 1, 0, 0),), None), start_ns=3 * SECOND))
        if second == 8:
            counted.follow(scenario_of(constant(9, 7), start_ns=8 * SECOND))
        see(counted, ONE, second, live)

    assert account.planned() == 3 * 4 + 7 * 9
    assert account.achieved(15 * SECOND) == 3 * 4 + 7 * 9


def test_a_load_that_changes_each_second_is_planned_exactly_after_its_parts_are_forgotten() -> None:
    account = Account(scenario_of(constant(1, 600)), place=0, warm_up_ns=5 * SECOND // 2)
    counted = account.user_seconds
    for second in range(600):
        if second:
            counted.follow(scenario_of(constant(second % 7, 600 - second), start_ns=second * SECOND))
        see(counted, ONE, second, 9)

    live = [1, *(second % 7 for second in range(1, 600))]
    assert account.planned() == sum(live[3:]) + Fraction(live[2], 2) == account.achieved(600 * SECOND)


def test_what_was_planned_stays_as_long_as_a_number_however_many_ramps_are_forgotten() -> None:
    changes, recalled = 1_000, Account(scenario_of(constant(1, 600)), place=0, warm_up_ns=5 * SECOND // 2)
    account = Account(recalled.scenario, place=0, warm_up_ns=5 * SECOND // 2)
    exact = Fraction(0)
    for change in range(1, changes):
        before, now_ns = account.scenario, change * SECOND + change * 7919 % 50_000_000
        exact += before.planned(now_ns) - before.planned(min(now_ns, 5 * SECOND // 2))
        ramp_ns = -(-(1_000 + change * 7919 % 9_999) * SECOND // 300)
        ramp = Profile((Segment(0, ramp_ns, change * 104_729 % 9_999, change % 997),), ramp_ns)
        account.user_seconds.follow(scenario_of(ramp, start_ns=now_ns))
        see(account.user_seconds, ONE, change, 9)
    exact += account.scenario.planned()
    recalled.user_seconds.recall_plan(account.user_seconds.remember_plan())

    assert max(map(len, account.user_seconds.remember_plan()["planned"])) < 40
    assert 0 < abs(account.planned() - exact) < Fraction(changes, SECOND)
    assert recalled.planned() == account.planned()


def test_users_of_a_stream_that_is_gone_are_gone_until_it_is_heard_again() -> None:
    counted = UserSeconds(scenario_of(constant(4, 10)))
    see(counted, ONE, 0, 3)
    see(counted, TWO, 0, 1)
    counted.leave(ONE)
    assert counted.users == 1
    see(counted, ONE, 1, 3)

    assert counted.users == 4


def test_an_engine_that_is_late_by_seconds_was_late_in_each_of_them() -> None:
    saturation = Saturation()
    saturation.observe(20, 8 * SECOND + 5, 0)
    saturation.observe(1, 0, 60 * SECOND)

    assert saturation.seconds(99) == 9 + 2


def test_a_second_in_which_an_engine_lacked_something_is_saturated_and_said_apart() -> None:
    saturation = Saturation()
    saturation.observe(3, 0, 0, 5)
    saturation.observe(3, 0, 0, 1)
    saturation.observe(4, 200_000_000, 0, 0)
    saturation.observe(5, 0, 0, 0)

    assert (saturation.seconds(99), saturation.exhausted_seconds(99)) == (2, 1)
    assert (saturation.seconds(4), saturation.exhausted_seconds(3)) == (1, 0)

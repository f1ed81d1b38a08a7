from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.agent.clock import DRIFT_PPM, TRIPS_KEPT, ClockOffset, RoundTrip

delays = st.integers(min_value=0, max_value=10**10)
moments = st.integers(min_value=0, max_value=10**18)
SECOND = 1_000_000_000


def _trip(sent, *, offset, there, back):
    return RoundTrip(sent, sent + there + offset, sent + there + back)


@given(moments, st.integers(-(10**18), 10**18), delays, delays)
def test_an_offset_is_off_by_half_the_round_trip_at_most(sent, offset, there, back):
    trip = _trip(sent, offset=offset, there=there, back=back)

    assert abs(trip.offset_ns - offset) <= trip.error_ns(trip.received_ns)
    assert trip.error_ns(trip.received_ns) == (there + back + 1) // 2


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(delays, delays), min_size=1, max_size=TRIPS_KEPT))
def test_the_best_of_several_is_never_worse_than_the_worst_nor_than_its_bound(offset, ways):
    clock = ClockOffset()
    trips = []
    sent = 0
    for there, back in ways:
        trips.append(_trip(sent, offset=offset, there=there, back=back))
        clock.add(trips[-1])
        sent = trips[-1].received_ns
    best = clock.best(sent)

    assert best is not None
    assert best.error_ns(sent) == min(trip.error_ns(sent) for trip in trips)
    assert abs(best.offset_ns - offset) <= best.error_ns(sent)


@given(delays, st.integers(0, 10**15), st.integers(-DRIFT_PPM, DRIFT_PPM))
def test_the_bound_holds_while_clocks_drift(duration, age, drift_ppm):
    trip = _trip(0, offset=1_000, there=duration, back=0)
    now = trip.received_ns + age
    # The master's clock has gained on this one since the answer.
    true_offset = 1_000 + age * drift_ppm // 1_000_000

    assert abs(trip.offset_ns - true_offset) <= trip.error_ns(now) + 1


def test_a_shorter_round_trip_wins_until_it_is_too_old():
    clock = ClockOffset()
    short = RoundTrip(0, 500, 1_000)
    long = RoundTrip(2_000, 7_000, 12_000)
    clock.add(short)
    clock.add(long)

    assert clock.best(12_000) is short
    # Both grow older alike, so an old one is beaten by a new one only.
    later = RoundTrip(10**9, 10**9 + 5_000, 10**9 + 10_000)
    clock.add(later)
    assert clock.best(10**9 + 10_000) is later


def test_nothing_is_known_before_the_first_answer_and_after_forgetting():
    clock = ClockOffset()
    assert clock.best(0) is None

    clock.add(RoundTrip(0, 5, 2))
    assert clock.best(2) == RoundTrip(0, 5, 2)
    clock.forget()
    assert clock.best(2) is None


@given(delays, delays, st.integers(-(10**12), 10**12))
def test_round_trips_of_another_clock_take_the_place_of_those_before(there, back, moved):
    clock = ClockOffset()
    before = _trip(0, offset=0, there=1_000, back=1_000)
    after = _trip(before.received_ns, offset=moved, there=there, back=back)
    clock.add(before)
    clock.add(after)
    now = after.received_ns
    could_be_the_same = abs(after.offset_ns - before.offset_ns) <= after.error_ns(now) + before.error_ns(now)

    assert clock.best(now) == (min(before, after, key=lambda trip: trip.error_ns(now)) if could_be_the_same else after)


def test_a_round_trip_that_ends_before_it_begins_is_none():
    clock = ClockOffset()
    clock.add(RoundTrip(10, 5, 9))

    assert clock.best(10) is None


def test_many_slow_round_trips_do_not_push_out_a_good_one():
    clock = ClockOffset()
    clock.add(RoundTrip(0, 1_000_500_000, 1_000_000))
    for late in range(2 * TRIPS_KEPT):
        clock.add(RoundTrip(10**9 + late, 10**10, 10**10 + late))

    best = clock.best(10**10)
    assert best is not None
    assert best.duration_ns == 1_000_000


def test_a_start_is_fixed_once_no_better_round_trip_is_to_be_expected_soon():
    bad = RoundTrip(0, 100, 6 * SECOND)
    good = RoundTrip(6 * SECOND, 6 * SECOND, 6 * SECOND + 1_000)
    clock = ClockOffset()
    assert not clock.is_settled(0)
    clock.add(bad)
    assert not clock.is_settled(bad.received_ns)
    assert clock.is_settled(bad.received_ns + SECOND)
    clock.add(good)
    assert clock.is_settled(good.received_ns)

    far = ClockOffset()
    for number in range(5):
        assert not far.is_settled(number * 200_000_000)
        far.add(RoundTrip(number * 200_000_000, 0, (number + 1) * 200_000_000))
    assert far.is_settled(1_000_000_000)

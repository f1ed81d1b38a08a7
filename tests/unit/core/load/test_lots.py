"""Laws of lots: whoever comes and goes, together they are the whole, and nobody else's numbers move."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.lots import PIECES_MAX, Lot, deal
from loadstone_core.load.pacing import targets
from loadstone_core.load.profile import Profile, Segment, dues, planned_iterations
from loadstone_core.units import SECOND

Hands = dict[int, set[Lot]]

slots_and_losses = st.integers(2, 12).flatmap(
    lambda slots: st.tuples(st.just(slots), st.lists(st.integers(0, slots - 1), unique=True, max_size=slots - 1))
)


def initial(slots: int) -> Hands:
    return {slot: {Lot(slot, slots)} for slot in range(slots)}


def lose(hands: Hands, holder: int, *, whole: int, slots: int) -> None:
    free = hands.pop(holder)
    for lot, heir in deal(free, hands, whole=whole, slots=slots):
        hands[heir].add(lot)


def numbers_below(hands: Hands, whole: int) -> list[int]:
    return sorted(number for lots in hands.values() for lot in lots for number in range(lot.first, whole, lot.parts))


@pytest.mark.promise("load-moves")
@settings(max_examples=30)
@given(slots_and_losses, st.integers(0, 500))
def test_the_lots_of_all_are_the_whole_whoever_is_lost(case: tuple[int, list[int]], whole: int) -> None:
    slots, losses = case
    hands = initial(slots)

    for lost in losses:
        lose(hands, lost, whole=whole, slots=slots)

        assert numbers_below(hands, whole) == list(range(whole))
        assert sum(lot.share(whole) for lots in hands.values() for lot in lots) == whole


@pytest.mark.promise("load-moves")
@given(slots_and_losses, st.integers(0, 10_000))
def test_only_the_numbers_of_the_lost_move(case: tuple[int, list[int]], whole: int) -> None:
    slots, losses = case
    hands = initial(slots)

    for lost in losses:
        before = {holder: set(lots) for holder, lots in hands.items() if holder != lost}
        lose(hands, lost, whole=whole, slots=slots)

        assert all(before[holder] <= hands[holder] for holder in before)


@given(st.integers(2, PIECES_MAX + 1), st.integers(0, 100_000), st.data())
def test_after_one_loss_the_others_differ_by_one_at_most(slots: int, whole: int, data: st.DataObject) -> None:
    hands = initial(slots)

    lose(hands, data.draw(st.integers(0, slots - 1)), whole=whole, slots=slots)

    shares = [sum(lot.share(whole) for lot in lots) for lots in hands.values()]
    assert max(shares) - min(shares) <= 1


@given(slots_and_losses, st.integers(0, 10_000))
def test_losses_do_not_grind_the_load_to_dust(case: tuple[int, list[int]], whole: int) -> None:
    slots, losses = case
    hands = initial(slots)

    for lost in losses:
        lose(hands, lost, whole=whole, slots=slots)

    # The lot of each slot is cut once, into a piece for each holder at most.
    assert sum(map(len, hands.values())) <= slots + len(losses) * (slots - 1)


@given(slots_and_losses)
def test_nobody_gets_more_than_twice_what_an_even_deal_gives(case: tuple[int, list[int]]) -> None:
    slots, losses = case
    whole, hands = 100_000, initial(slots)

    for lost in losses:
        lose(hands, lost, whole=whole, slots=slots)

        assert max(sum(lot.share(whole) for lot in lots) for lots in hands.values()) <= 2 * whole / len(hands) + 1


def test_without_anybody_there_nothing_is_dealt() -> None:
    assert deal([Lot(0, 1)], {}, whole=10, slots=1) == []


@settings(max_examples=30)
@given(slots_and_losses, st.integers(0, 30), st.integers(0, 30), st.integers(1, 3 * SECOND))
def test_the_users_of_all_lots_follow_the_profile_at_every_moment(
    case: tuple[int, list[int]], start: int, end: int, duration_ns: int
) -> None:
    slots, losses = case
    profile = Profile((Segment(0, duration_ns, start, end),), duration_ns)
    hands = initial(slots)
    for lost in losses:
        lose(hands, lost, whole=profile.peak, slots=slots)
    lots = [lot for held in hands.values() for lot in held]

    moments = sorted({at_ns for lot in lots for at_ns, _ in targets(profile, *lot)} | {0, duration_ns // 2})

    for moment in moments:
        users = [[count for at, count in ((0, 0), *targets(profile, *lot)) if at <= moment][-1] for lot in lots]
        assert sum(users) == profile.value_at(moment)


@pytest.mark.promise("load-moves")
@settings(max_examples=30)
@given(slots_and_losses, st.integers(0, 100), st.integers(0, 100))
def test_a_rate_stays_interleaved_and_each_iteration_is_due_once(
    case: tuple[int, list[int]], start: int, end: int
) -> None:
    slots, losses = case
    profile = Profile((Segment(0, SECOND, start, end),), SECOND)
    hands = initial(slots)
    for lost in losses:
        lose(hands, lost, whole=profile.peak, slots=slots)

    due = sorted(at_ns for lots in hands.values() for lot in lots for at_ns in dues(profile, *lot))

    assert len(due) == planned_iterations(profile)
    assert all(abs(a - b) <= 1 for a, b in zip(due, dues(profile, 0, 1), strict=True))

"""Laws of lots: whoever comes and goes, together they are the whole, and nobody else's numbers move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.load.lots import LOTS_MOST, PIECES_MAX, Lot, deal, pieces_for, spread
from loadstone_core.load.pacing import targets
from loadstone_core.load.profile import Profile, Segment, dues, planned_iterations
from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@pytest.mark.parametrize(("slots", "pieces"), [(300, 64), (400, 50), (1_000, 20), (5_000, 4), (30_000, 1)])
def test_there_are_never_more_lots_than_a_master_can_look_through_if_every_slot_is_lost(
    slots: int, pieces: int
) -> None:
    lost = [Lot(slot, slots) for slot in range(0, slots, slots // 100)]

    dealt = deal(lost, dict.fromkeys(range(100), ()), whole=slots, slots=slots)
    assert len(dealt) == pieces * len(lost)
    assert pieces * slots <= max(slots, LOTS_MOST)
    assert sum(lot.share(slots) for lot, _ in dealt) == len(lost)


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


WHOLE = 1_000


def loads_of(homes: Mapping[Lot, int], holders: int) -> list[int]:
    return [sum(lot.share(WHOLE) for lot, home in homes.items() if home == holder) for holder in range(holders)]


@given(st.integers(1, 12), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_whoever_is_left_has_about_the_same_and_nothing_is_lost(slots: int, numbers_of_holders: list[int]) -> None:
    homes = {piece: slot for slot in range(slots) for piece in Lot(slot, slots).cut(pieces_for(slots, slots))}
    for holders in numbers_of_holders:
        before = loads_of(homes, 12)
        homes_now = spread(homes, range(holders), whole=WHOLE)
        assert homes_now.keys() == homes.keys()
        assert set(homes_now.values()) <= set(range(holders))
        loads, piece = loads_of(homes_now, holders), max(lot.share(WHOLE) for lot in homes)
        assert max(loads) - min(loads) <= piece
        # What nobody is left for has to move, and what somebody has beyond an even part; and hardly more.
        moved = sum(lot.share(WHOLE) for lot in homes if homes_now[lot] != homes[lot])
        surplus = sum(max(0, load - WHOLE // holders) for load in before[:holders])
        assert moved <= sum(before[holders:]) + surplus + holders * piece
        homes = homes_now


def test_what_is_even_is_left_as_it_is() -> None:
    homes = {Lot(slot, 4): slot % 2 for slot in range(4)}
    assert spread(homes, (0, 1), whole=8) == homes


def test_lots_of_which_the_load_has_nothing_are_spread_too() -> None:
    # The load may grow.
    homes = dict.fromkeys(Lot(0, 1).cut(8), 5)
    assert sorted(spread(homes, (0, 1), whole=1).values()) == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("slots", "holders", "pieces"),
    [(2, 3, 30), (1, 2, 64), (1, 20, 60), (50, 100, 16), (100, 101, 64), (1, 500, 64), (1_000, 1_001, 20)],
)
def test_a_slot_is_cut_into_pieces_that_make_even_parts_and_leave_room(slots: int, holders: int, pieces: int) -> None:
    assert pieces_for(slots, holders) == pieces


def test_no_piece_is_smaller_than_it_may_be() -> None:
    assert [pieces_for(2, 5, most=most) for most in (1, 4, 5, 9, 10, 64)] == [1, 4, 5, 5, 10, 30]
    given = deal([Lot(0, 2)], {place: [] for place in range(5)}, whole=100, slots=2, most=3)
    assert [lot.parts for lot, _ in given] == [6, 6, 6]


def test_a_lot_has_itself_and_its_pieces() -> None:
    whole = Lot(1, 3)
    assert all(map(whole.has, (whole, *whole.cut(5))))
    assert not any(map(whole.has, (Lot(0, 3), Lot(0, 6), Lot(1, 4), Lot(0, 1))))

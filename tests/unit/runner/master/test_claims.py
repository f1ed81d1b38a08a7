"""What workers say they do becomes the table of a new master, and nothing is given away that somebody may still do."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.lots import Lot, Share
from loadstone_protocol.messages import EngineNews, EngineStage
from loadstone_runner.master.books import Place
from loadstone_runner.master.claims import sort_out
from loadstone_runner.master.shares import VERSIONS_OF_AN_EPOCH, Shares

promise = pytest.mark.promise
WHOLE = 12
FIRST = 2 * VERSIONS_OF_AN_EPOCH + 1
A, B, C = Place(0, 0), Place(1, 0), Place(2, 0)


def follows(worker: int, *, holding: int = FIRST, leaving: int = 0) -> EngineNews:
    return EngineNews(
        engine=0, start=1, stage=EngineStage.RUNNING, users=0, loop_lag_ns=0, schedule_slip_ns=0, grants=(),
        over=frozenset(), script=None, started_at_ns=0, holding=holding, leaving=leaving,
    )  # fmt: skip


def numbers(lots: list[Lot]) -> list[int]:
    return sorted(number for lot in lots for number in range(lot.first, WHOLE, lot.parts))


def heirs(**told: tuple[int, list[Lot]]) -> Shares:
    shares = Shares(3, 1, whole=WHOLE, epoch=2)
    workers = {"a": 0, "b": 1, "c": 2}
    shares.inherit(
        {workers[name]: (attempt, [Share(0, lot) for lot in lots]) for name, (attempt, lots) in told.items()}
    )
    return shares


@given(
    told=st.dictionaries(
        st.integers(0, 3),
        st.lists(
            st.builds(lambda first, ways: Lot(first % (3 * ways), 3 * ways), st.integers(0, 20), st.integers(1, 4))
        ),
    )
)
def test_claims_and_doubts_are_the_whole_load_whatever_workers_say(told: dict[int, list[Lot]]) -> None:
    known, unknown = sort_out({worker: [Share(0, lot) for lot in lots] for worker, lots in told.items()}, 3)
    assert numbers([each.lot for each in known] + unknown) == list(range(WHOLE))
    assert all(each.lot in told[each.place.worker] for each in known)


@promise("load-moves", "master-restart")
def test_who_stands_in_for_another_goes_on_with_that_under_a_new_master() -> None:
    shares = heirs(a=(1, [Lot(0, 3), Lot(2, 6)]), b=(1, [Lot(1, 3), Lot(5, 6)]), c=(2, []))
    assert shares.of(0, 1) == (FIRST, (Share(0, Lot(0, 3)), Share(0, Lot(2, 6))))
    # Worker 2 has come again: what is its own is asked back first.
    assert shares.settle({A: 1, B: 1, C: 2}, from_ns=0, moves=True) == {0, 1}
    assert shares.of(2, 2)[1] == ()
    shares.hear(0, 1, follows(0))
    assert shares.settle({A: 1, B: 1, C: 2}, from_ns=0, moves=True) == set()
    shares.hear(0, 1, follows(0, holding=FIRST + 1))
    assert shares.settle({A: 1, B: 1, C: 2}, from_ns=0, moves=True) == {2}
    assert shares.of(2, 2)[1] == (Share(0, Lot(2, 6)),)


@promise("load-moves", "master-restart")
def test_what_nobody_claims_is_given_away_when_everybody_follows_or_has_ended() -> None:
    shares = heirs(a=(1, [Lot(0, 3)]), b=(1, [Lot(1, 3)]), c=(1, []))
    able = {A: 1, B: 1, C: 1}
    assert shares.may_move
    assert shares.settle(able, from_ns=0, moves=True) == set()
    shares.hear(0, 1, follows(0))
    shares.hear(1, 1, follows(1, leaving=1))
    shares.hear(2, 1, follows(2, holding=FIRST - 1))
    assert shares.settle(able, from_ns=0, moves=True) == set()
    shares.hear(1, 1, follows(1))
    assert shares.release(2, 1)
    assert shares.settle({A: 1, B: 1}, from_ns=0, moves=True) == {0, 1}
    assert numbers([each.lot for worker in (0, 1) for each in shares.of(worker, 1)[1]]) == list(range(WHOLE))


@promise("load-moves", "master-restart")
def test_a_lot_that_two_claim_is_nobodys_at_first() -> None:
    shares = heirs(a=(1, [Lot(0, 3), Lot(2, 3)]), b=(1, [Lot(1, 3)]), c=(1, [Lot(2, 3)]))
    assert [numbers([each.lot for each in shares.of(worker, 1)[1]]) for worker in range(3)] == [
        [0, 3, 6, 9], [1, 4, 7, 10], [],
    ]  # fmt: skip
    for worker in range(3):
        shares.hear(worker, 1, follows(worker))
    assert shares.settle({A: 1, B: 1, C: 1}, from_ns=0, moves=True) == {2}


@promise("load-moves", "master-restart")
@pytest.mark.parametrize("told", [{"a": (1, [Lot(0, 3)]), "b": (2, [])}, {"a": (1, [Lot(0, 3)])}])
def test_whoever_is_not_known_is_waited_for_until_leases_are_over(told: dict[str, tuple[int, list[Lot]]]) -> None:
    shares = heirs(**told)
    later = Shares(3, 1, whole=WHOLE, epoch=2)
    later.recall(json.loads(json.dumps(shares.remember())))
    for each in (shares, later):
        for worker in range(3):
            each.hear(worker, 2, follows(worker))
        assert each.settle({A: 1, B: 2, C: 2}, from_ns=0, moves=True) == set()
        each.forget_unknown()
        assert each.settle({A: 1, B: 2, C: 2}, from_ns=0, moves=True) == {1, 2}


@promise("master-restart")
def test_what_was_inherited_is_kept_before_anybody_hears_of_it() -> None:
    shares = Shares(3, 1, whole=WHOLE, epoch=2)
    before = shares.given
    shares.inherit({})
    assert shares.given > before


@promise("load-moves", "master-restart")
def test_who_says_late_what_it_does_goes_on_with_that() -> None:
    shares = heirs(a=(1, [Lot(0, 3)]), b=(2, []))
    before = shares.given
    shares.claim(2, 2, [Share(0, Lot(2, 3), from_ns=7)])
    assert shares.given > before, "it is kept before anybody hears of it"
    assert shares.of(2, 2) == (FIRST, (Share(0, Lot(2, 3), from_ns=7),))
    later = Shares(3, 1, whole=WHOLE, epoch=2)
    later.recall(json.loads(json.dumps(shares.remember())))
    for each in (shares, later):
        # What nobody says to do is nobody's still.
        assert each.settle({A: 1, B: 2, C: 2}, from_ns=0, moves=True) == set()
        each.forget_unknown()
        for worker, attempt in enumerate((1, 2, 2)):
            each.hear(worker, attempt, follows(worker))
        assert each.settle({A: 1, B: 2, C: 2}, from_ns=0, moves=True) == {1}
        assert each.of(2, 2)[1] == (Share(0, Lot(2, 3), from_ns=7),)


@promise("load-moves", "master-restart")
def test_a_piece_that_is_claimed_late_leaves_the_others_in_doubt() -> None:
    shares = heirs(a=(1, [Lot(0, 3)]), b=(1, [Lot(1, 3)]))
    shares.claim(2, 2, [Share(0, Lot(5, 6))])
    assert shares.of(2, 2)[1] == (Share(0, Lot(5, 6)),)
    shares.claim(0, 1, [Share(0, Lot(2, 6))])
    assert shares.of(0, 1)[1] == (Share(0, Lot(0, 3)), Share(0, Lot(2, 6)))
    # That one is asked back for the worker whose it is.
    assert shares.settle({A: 1, B: 1, C: 2}, from_ns=0, moves=True) == {0}
    shares.hear(0, 1, follows(0, holding=FIRST + 1))
    assert shares.settle({A: 1, B: 1, C: 2}, from_ns=0, moves=True) == {2}
    assert numbers([each.lot for each in shares.of(2, 2)[1]]) == [2, 5, 8, 11]


@promise("load-moves")
@pytest.mark.parametrize(
    "share",
    [Share(0, Lot(0, 3)), Share(0, Lot(3, 6)), Share(1, Lot(2, 3)), Share(0, Lot(2, 4)), Share(0, Lot(2, 3 * 65))],
    ids=["another's", "a piece of another's", "no engine", "no lot", "more pieces than there ever are"],
)
def test_nothing_else_is_anybodys_for_being_claimed_late(share: Share) -> None:
    shares = heirs(a=(1, [Lot(0, 3)]), b=(1, [Lot(1, 3)]))
    held = shares.remember()
    shares.claim(2, 2, [share])
    assert shares.remember() == held
    assert sort_out({2: [Share(0, Lot(2, 3 * 65))]}, 3) == ([], [Lot(0, 3), Lot(1, 3), Lot(2, 3)])

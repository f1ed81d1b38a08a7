"""Counters and histograms are reconciled without a negative number and without silence."""

from __future__ import annotations

from dataclasses import asdict, fields

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.account import Account, Recorded, latest, reconcile, sum_of
from loadstone_core.stats.stream import Counters

COUNT = st.integers(0, 50)
COUNTERS = st.builds(Counters, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
RECORDED = st.builds(Recorded, COUNT, COUNT, COUNT, COUNT)


@given(counters=COUNTERS, recorded=RECORDED, ended=st.booleans(), known=st.booleans())
def test_no_number_of_an_account_is_negative_and_requests_are_those_recorded_and_those_missing(
    *, counters: Counters, recorded: Recorded, ended: bool, known: bool
) -> None:
    account = reconcile(counters, recorded, ended=ended, known=known)

    assert min(asdict(account).values()) >= 0
    assert account.started >= account.requests
    assert account.requests == counters.completed + account.counters_behind
    if ended:
        assert account.requests == recorded.completed + account.unaccounted
        assert account.iterations == recorded.iterations_completed + account.iterations_unaccounted
    else:
        assert account.unaccounted == account.iterations_unaccounted == account.unknown_streams == 0


def test_histograms_are_believed_where_they_hold_more_than_the_counters() -> None:
    account = reconcile(Counters(started=9, completed=9), Recorded(completed=11, unsent=1), ended=True, known=True)

    assert account == Account(requests=11, started=11, unsent=1, counters_behind=2)


def test_what_only_the_counters_know_is_unaccounted() -> None:
    counters = Counters(started=12, completed=10, unsent=1, ambiguous=2, iterations_completed=5, measured=4)
    recorded = Recorded(completed=7, iterations_completed=4)

    account = reconcile(counters, recorded, ended=True, known=False)

    assert account == Account(
        requests=10,
        started=12,
        unsent=1,
        ambiguous=2,
        measured=4,
        iterations=5,
        unaccounted=3,
        iterations_unaccounted=1,
        unknown_streams=1,
    )


def test_accounts_add_up_field_by_field() -> None:
    size = len(fields(Account))

    assert sum_of([Account(*range(size)), Account(*range(10, 10 + size))]) == Account(*range(10, 10 + 2 * size, 2))
    assert sum_of([]) == Account()


@given(COUNTERS, COUNTERS)
def test_the_latest_of_two_readings_is_at_least_both(one: Counters, other: Counters) -> None:
    newest = latest(one, other)

    assert newest == latest(other, one) == latest(newest, one)
    assert all(getattr(newest, field.name) >= getattr(one, field.name) for field in fields(Counters))

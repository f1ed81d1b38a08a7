import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_operator.capacity import Claim, Ledger, Limits
from loadstone_operator.permission import Capacity

promise = pytest.mark.promise


def claim(uid: str, workers: int, created: str = "2026-11-21T00:00:00Z", users: int = 0) -> Claim:
    return Claim(uid, workers, users, created)


def test_without_limits_everything_may_start() -> None:
    assert Ledger(Limits()).ask(claim("a", 5000, users=10**8), {}) == Capacity()


def test_a_test_above_its_own_limits_is_refused_with_both_numbers() -> None:
    ledger = Ledger(Limits(workers_per_test=2, users=15))

    assert "3" in ledger.ask(claim("a", 3), {}).refused
    assert "2" in ledger.ask(claim("a", 3), {}).refused
    refused = ledger.ask(claim("a", 2, users=20), {}).refused
    assert "20" in refused
    assert "15" in refused


def test_a_test_that_can_never_fit_is_refused_and_does_not_wait_for_ever() -> None:
    ledger = Ledger(Limits(workers_per_test=10, total_workers=4))

    assert ledger.ask(claim("a", 5), {}).refused
    assert ledger.waiting() == ()


def test_a_small_young_test_does_not_overtake_a_large_old_one() -> None:
    ledger = Ledger(Limits(total_workers=4))
    ledger.hold("running", 1, 2)

    assert ledger.ask(claim("old", 4, "2026-11-21T00:00:01Z"), {}).waiting
    assert ledger.ask(claim("young", 1, "2026-11-21T00:00:02Z"), {}).waiting
    assert ledger.waiting() == ("old", "young")
    assert ledger.release("running")
    assert ledger.ask(claim("young", 1, "2026-11-21T00:00:02Z"), {}).waiting
    assert ledger.ask(claim("old", 4, "2026-11-21T00:00:01Z"), {}) == Capacity()


def test_a_test_that_gives_up_waiting_lets_the_next_one_pass() -> None:
    ledger = Ledger(Limits(total_workers=2))
    ledger.hold("running", 1, 1)
    assert ledger.ask(claim("old", 2, "1"), {}).waiting
    assert ledger.ask(claim("young", 1, "2"), {}).waiting

    assert ledger.withdraw("old")
    assert ledger.ask(claim("young", 1, "2"), {}) == Capacity()


def test_workers_of_a_run_that_has_ended_count_until_their_pods_have() -> None:
    ledger = Ledger(Limits(total_workers=3))
    ledger.hold("ended", 1, 2)
    assert ledger.release("ended")

    assert ledger.ask(claim("next", 2), {("ended", 1): 2}).waiting
    assert ledger.ask(claim("next", 2), {("ended", 1): 1}) == Capacity()


def test_workers_of_an_earlier_run_of_the_same_test_count_beside_those_of_its_new_one() -> None:
    ledger = Ledger(Limits(total_workers=5))
    ledger.hold("again", 2, 2)

    assert ledger.ask(claim("next", 2), {("again", 1): 2, ("again", 2): 1}).waiting
    assert ledger.ask(claim("next", 2), {("again", 1): 1, ("again", 2): 2}) == Capacity()


@promise("limits", "live-replicas")
def test_a_run_that_goes_on_gets_more_workers_when_there_is_room_and_keeps_what_it_has_until_then() -> None:
    ledger = Ledger(Limits(total_workers=6))
    ledger.hold("one", 1, 2)
    ledger.hold("other", 1, 3)
    alive = {("one", 1): 2, ("other", 1): 3}

    waiting = ledger.grow(claim("one", 4), 1, 2, alive).waiting
    assert "goes on with 2 workers and waits for 2 more: others use 3 of the installation's 6" in waiting
    assert ledger.waiting() == ("one",)
    # In the line it is one of those that wait.
    assert ledger.ask(claim("young", 1, "2026-11-21T00:00:02Z"), alive).waiting
    assert ledger.grow(claim("one", 3), 1, 2, alive) == Capacity()
    assert ledger.ask(claim("young", 1, "2026-11-21T00:00:02Z"), alive).waiting

    assert ledger.release("other")
    assert ledger.grow(claim("one", 6), 1, 3, {("one", 1): 3, ("other", 1): 1}).waiting
    assert ledger.grow(claim("one", 6), 1, 3, {("one", 1): 3}) == Capacity()
    assert ledger.waiting() == ("young",)
    # Who has to go counts until it has gone.
    assert ledger.hold("one", 1, 2)
    assert not ledger.hold("one", 1, 2)
    assert ledger.ask(claim("next", 2), {("one", 1): 6}).waiting


@promise("limits", "live-replicas")
def test_a_run_that_asks_for_more_workers_than_one_test_may_have_goes_on_and_is_told_how_many_that_are() -> None:
    ledger = Ledger(Limits(workers_per_test=3, users=1))
    ledger.hold("one", 1, 1)
    refused = ledger.grow(claim("one", 4, users=9), 1, 1, {}).refused

    assert "goes on with 1 worker: spec.workers.replicas is 4, and this installation allows 3" in refused
    assert "Ask for fewer" in refused
    assert ledger.waiting() == ()
    assert ledger.grow(claim("one", 3, users=9), 1, 1, {}) == Capacity()


def test_a_run_that_waits_for_more_workers_is_no_claim_once_it_wants_them_no_more() -> None:
    ledger = Ledger(Limits(total_workers=2))
    ledger.hold("one", 1, 1)
    ledger.hold("other", 1, 1)
    assert ledger.grow(claim("one", 2), 1, 1, {}).waiting

    assert ledger.hold("one", 1, 1), "others may have stood behind it"
    assert ledger.waiting() == ()


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["ask", "end", "leave", "grow"]), st.integers(1, 8))),
)
def test_two_tests_at_once_never_exceed_the_total(total: int, story: list[tuple[str, str, int]]) -> None:
    ledger, runs, going = Ledger(Limits(total_workers=total)), dict.fromkeys("abcdef", 0), set[str]()
    alive: dict[tuple[str, int], int] = {}
    for uid, what, workers in story:
        if what == "ask" and uid not in going and ledger.ask(claim(uid, workers), alive) == Capacity():
            runs[uid] += 1
            ledger.hold(uid, runs[uid], workers)
            alive[uid, runs[uid]] = workers
            going.add(uid)
        elif what == "grow" and uid in going:
            place = uid, runs[uid]
            if (
                workers > alive[place]
                and ledger.grow(claim(uid, workers), runs[uid], alive[place], alive) == Capacity()
            ):
                alive[place] = workers
        elif what == "end":
            ledger.release(uid)
            going.discard(uid)
        elif what == "leave" and uid not in going:
            alive = {place: count - (place[0] == uid) for place, count in alive.items()}
            alive = {place: count for place, count in alive.items() if count}

        assert sum(alive.values()) <= total

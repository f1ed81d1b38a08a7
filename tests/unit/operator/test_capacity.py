from hypothesis import given
from hypothesis import strategies as st

from loadstone_operator.capacity import Claim, Ledger, Limits
from loadstone_operator.observation import Capacity


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


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["ask", "end", "leave"]), st.integers(1, 8))),
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
        elif what == "end":
            ledger.release(uid)
            going.discard(uid)
        elif what == "leave" and uid not in going:
            alive = {place: count - (place[0] == uid) for place, count in alive.items()}
            alive = {place: count for place, count in alive.items() if count}

        assert sum(alive.values()) <= total

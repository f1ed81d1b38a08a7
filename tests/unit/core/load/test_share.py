"""Laws of dealing out whole numbers."""

from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.share import interleave, share, slot_of

wholes = st.integers(0, 10**9)
parts_and_index = st.integers(1, 300).flatmap(lambda parts: st.tuples(st.just(parts), st.integers(0, parts - 1)))


@given(wholes, st.integers(1, 300))
def test_shares_sum_to_the_whole_and_differ_by_one_at_most(whole, parts):
    shares = [share(whole, index, parts) for index in range(parts)]

    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1


@given(wholes, parts_and_index)
def test_a_share_never_shrinks_while_the_whole_grows(whole, slot):
    parts, index = slot

    assert share(whole + 1, index, parts) - share(whole, index, parts) in {0, 1}


@given(st.integers(0, 5_000), parts_and_index)
def test_a_part_has_as_many_things_as_it_has_numbers(whole, slot):
    parts, index = slot

    numbers = interleave(whole, index, parts)

    assert len(numbers) == share(whole, index, parts)
    assert all(number < whole and number % parts == index for number in numbers)


@given(st.integers(1, 40), st.integers(1, 8))
def test_every_engine_has_a_slot_of_its_own(workers, engines):
    slots = {slot_of(worker, engine, workers) for worker in range(workers) for engine in range(engines)}

    assert slots == set(range(workers * engines))


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 1_000))
def test_a_small_load_spreads_over_all_workers(workers, engines, users):
    slots = workers * engines
    per_worker = [
        sum(share(users, slot_of(worker, engine, workers), slots) for engine in range(engines))
        for worker in range(workers)
    ]

    assert max(per_worker) - min(per_worker) <= 1

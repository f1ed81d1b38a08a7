from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.feeders import StridedRows


@given(some.lists(some.tuples(some.integers(0, 3), some.sampled_from("ab")), max_size=100))
def test_no_row_is_given_twice_over_all_slots_and_each_slot_leaves_no_hole(asked) -> None:
    slots = [StridedRows(slot, 4) for slot in range(4)]
    given_out: dict[str, list[int]] = {"a": [], "b": []}
    for slot, feeder in asked:
        given_out[feeder].append(slots[slot].next_row(feeder))

    for feeder, rows in given_out.items():
        assert len(set(rows)) == len(rows)
        for slot in range(4):
            mine = [row for row in rows if row % 4 == slot]
            assert mine == list(range(slot, slot + 4 * len(mine), 4)), feeder

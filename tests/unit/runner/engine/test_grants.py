import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone_runner.engine.grants import Grants


@some.composite
def histories(draw):
    """Ranges that follow each other, and for each grant how far it reaches back and how many are taken after it."""
    lengths = draw(some.lists(some.integers(1, 5), min_size=1, max_size=12))
    gaps = draw(some.lists(some.integers(0, 3), min_size=len(lengths), max_size=len(lengths)))
    ranges, at = [], 0
    for length, gap in zip(lengths, gaps, strict=True):
        ranges.append(range(at + gap, at + gap + length))
        at += gap + length
    steps = draw(some.lists(some.tuples(some.integers(0, 12), some.integers(0, 12), some.integers(0, 10)), max_size=20))
    return ranges, steps


@given(histories())
def test_every_granted_number_is_handed_out_once_and_in_order_whatever_is_repeated(history) -> None:
    ranges, steps = history
    grants, handed, known = Grants(), [], 0
    for back, reach, takes in steps:
        first = min(back, known)
        last = max(first, min(reach, len(ranges)))
        new = grants.extend(first, ranges[first:last])
        assert new == (last > known)
        known = max(known, last)
        handed += [number for _ in range(takes) if (number := grants.take()) is not None]

    granted = [number for each in ranges[:known] for number in each]
    assert handed == granted[: len(handed)]
    assert grants.left == len(granted) - len(handed)
    assert (grants.known, grants.taken) == (known, len(handed))


def test_a_gap_in_the_grants_is_refused() -> None:
    grants = Grants()
    grants.extend(0, [range(3)])

    with pytest.raises(ValueError, match="ranges 1 to 1 were never granted"):
        grants.extend(2, [range(5, 6)])


def test_nothing_granted_is_nothing_handed_out() -> None:
    grants = Grants()

    assert (grants.take(), grants.left, grants.known) == (None, 0, 0)
    assert grants.extend(4, []) is False

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.agent.grants import Grants, split

ranges = st.builds(lambda start, count: range(start, start + count), st.integers(0, 10**12), st.integers(0, 500))


@given(ranges, st.integers(1, 40))
def test_the_parts_of_a_range_are_the_range_in_its_order(granted, parts):
    dealt = split(granted, parts)

    assert [number for part in dealt for number in part] == list(granted)
    assert len(dealt) == parts
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@given(st.integers(1, 8), st.lists(st.integers(1, 50), max_size=12), st.randoms(use_true_random=False))
def test_every_granted_number_reaches_one_engine_once_however_assignments_repeat(engines, counts, random):
    grants = Grants(engines)
    granted = []
    start = 0
    for count in counts:
        granted.append(range(start, start + count))
        start += count + 3
    held = {engine: [] for engine in range(engines)}
    for end in range(1, len(granted) + 1):
        first = random.randint(0, end - 1)
        grants.deal(granted[first:end], first=first, living=range(engines))
        grants.deal(granted[first:end], first=first, living=range(engines))
        engine = random.randrange(engines)
        number, dealt = grants.of(engine)
        take = random.randint(0, len(dealt))
        held[engine] += dealt[:take]
        grants.take(engine, number + take)
        assert grants.of(engine) == (number + take, dealt[take:])
    for engine in range(engines):
        held[engine] += grants.of(engine)[1]

    numbers = sorted(number for parts in held.values() for part in parts for number in part)
    assert numbers == [number for each in granted for number in each]
    for parts in held.values():
        assert all(left.stop <= right.start for left, right in pairwise(parts))


def test_single_iterations_go_to_the_engines_in_turns():
    grants = Grants(3)
    grants.deal([range(number, number + 1) for number in range(6)], first=0, living=[0, 1, 2])

    assert sorted(len(grants.of(engine)[1]) for engine in range(3)) == [2, 2, 2]


def test_engines_that_have_ended_get_nothing():
    grants = Grants(2)
    grants.deal([range(10)], first=0, living=[1])

    assert grants.of(0) == (0, ())
    assert grants.of(1) == (0, (range(10),))


def test_without_a_living_engine_ranges_wait():
    grants = Grants(1)

    assert not grants.deal([range(4)], first=0, living=[])
    assert grants.deal([range(4)], first=0, living=[0])


def test_a_gap_in_the_numbers_is_not_dealt_over():
    grants = Grants(1)

    assert not grants.deal([range(5, 9)], first=1, living=[0])
    assert grants.of(0) == (0, ())


def test_what_is_said_again_is_not_news():
    grants = Grants(1)
    grants.deal([range(4)], first=0, living=[0])

    assert not grants.deal([range(4)], first=0, living=[0])


def test_an_engine_that_claims_more_than_it_was_given_takes_what_there_is():
    grants = Grants(1)
    grants.deal([range(4)], first=0, living=[0])
    grants.take(0, 7)

    assert grants.of(0) == (1, ())

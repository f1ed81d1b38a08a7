from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.master.grants import Grants


class Worker:
    """Keeps every range by its number, as an agent does."""

    def __init__(self) -> None:
        self.ranges: dict[int, range] = {}

    def learn(self, grants: Grants, number: int) -> int:
        grant = grants.of(number)
        for place, each in enumerate(grant.ranges):
            known = self.ranges.setdefault(grant.first_range + place, each)
            assert known == each
        return grant.version


steps = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 50), st.integers(0, 1000), st.booleans()), max_size=60)


@given(total=st.integers(0, 20_000), workers=st.integers(1, 8), steps=steps)
def test_every_iteration_is_given_to_exactly_one_worker(
    total: int, workers: int, steps: list[tuple[int, int, int, bool]]
) -> None:
    grants, agents = Grants(total, workers), [Worker() for _ in range(workers)]
    grants.open()
    for asking, left, rate, acknowledges in steps:
        number = asking % workers
        grants.hear(number, left=left, per_second=rate, living=range(workers))
        version = agents[number].learn(grants, number)
        if acknowledges:
            grants.acknowledge(number, version)
    for number, agent in enumerate(agents):
        agent.learn(grants, number)

    given_out = sorted(each for agent in agents for part in agent.ranges.values() for each in part)
    assert given_out == list(range(grants.granted()))
    assert grants.granted() + grants.left == total
    assert [grants.granted_to(number) for number in range(workers)] == [
        sum(map(len, agent.ranges.values())) for agent in agents
    ]


@given(total=st.integers(1, 5_000), workers=st.integers(1, 8))
def test_workers_that_run_dry_are_given_everything_in_a_few_rounds(total: int, workers: int) -> None:
    grants = Grants(total, workers)
    grants.open()
    rounds = 0
    while grants.left:
        rounds += 1
        for number in range(workers):
            grants.hear(number, left=0, per_second=1, living=range(workers))

    assert rounds <= 6


def test_few_iterations_are_divided_at_once_and_evenly() -> None:
    grants = Grants(10, 3)
    grants.open()

    assert [len(grants.of(number).ranges[0]) for number in range(3)] == [4, 3, 3]
    assert grants.left == 0


def test_fewer_iterations_than_workers_leave_some_without() -> None:
    grants = Grants(2, 3)
    grants.open()

    assert sum(len(grants.of(number).ranges) for number in range(3)) == 2


def test_a_worker_with_enough_ahead_gets_nothing_more() -> None:
    grants = Grants(100_000, 2)
    grants.open()

    assert grants.hear(0, left=200, per_second=100, living=(0, 1)) == ()
    assert grants.hear(0, left=199, per_second=100, living=(0, 1)) == (0,)


def test_what_remains_goes_to_the_living_workers_only() -> None:
    grants = Grants(4_000, 3)
    grants.open()
    assert grants.hear(1, left=0, per_second=5_000, living=(1, 2)) == (1, 2)
    assert len(grants.of(0).ranges) == 1


def test_an_acknowledged_range_is_not_sent_again_and_keeps_its_number() -> None:
    grants = Grants(100_000, 1)
    grants.open()
    first = grants.of(0)
    grants.acknowledge(0, first.version)
    grants.hear(0, left=0, per_second=10, living=(0,))
    second = grants.of(0)

    assert (second.first_range, second.version) == (first.first_range + 1, first.version + 1)
    assert second.ranges[0].start == first.ranges[-1].stop


def test_a_run_without_iterations_has_assignments_without_ranges() -> None:
    grants = Grants(0, 2)
    grants.open()

    assert grants.of(1).ranges == ()
    assert grants.of(1).version == 1
    assert grants.hear(1, left=0, per_second=5, living=(0, 1)) == ()

"""What was used in a second is the difference of two readings."""

import pytest

from loadstone_runner.agent.usage import Reading, Usage, reading_of

SECOND = 1_000_000_000


def test_nothing_is_known_before_a_reading_and_no_rate_before_two() -> None:
    usage = Usage()
    assert (usage.memory_bytes, usage.memory_limit_bytes, usage.cgroup_bytes) == (None, 0, 0)
    assert (usage.cpu_permille(), usage.throttled_permille) == (0, 0)

    usage.take(Reading(SECOND, 1_000, 600, 5, {0: (10, 200), 1: (10, 300)}))

    assert (usage.memory_bytes, usage.memory_limit_bytes, usage.cgroup_bytes) == (500, 1_000, 600)
    assert (usage.cpu_permille(), usage.throttled_permille) == (0, 0)


def test_rates_are_of_the_time_between_two_readings() -> None:
    usage = Usage()
    usage.take(Reading(SECOND, -1, -1, SECOND, {0: (SECOND, 1), 1: (0, 1)}))
    usage.take(Reading(3 * SECOND, -1, -1, SECOND + SECOND // 2, {0: (3 * SECOND, 1), 1: (SECOND, 1)}))
    usage.take(Reading(3 * SECOND))  # of the same moment: nothing new

    assert (usage.cpu_permille(), usage.cpu_permille(0), usage.cpu_permille(1)) == (1_500, 1_000, 500)
    assert usage.throttled_permille == 250
    assert (usage.memory_limit_bytes, usage.cgroup_bytes) == (0, 0)


def test_an_engine_that_was_started_anew_counts_from_zero() -> None:
    usage = Usage()
    usage.take(Reading(SECOND, processes={0: (50 * SECOND, 1)}))
    usage.take(Reading(2 * SECOND, processes={0: (SECOND // 4, 1), 1: (SECOND // 2, 1)}))

    assert (usage.cpu_permille(0), usage.cpu_permille(1), usage.cpu_permille(7)) == (250, 500, 0)


def test_a_reading_is_what_the_launcher_says() -> None:
    told = {"event": "usage", "memory_limit_bytes": 9, "cgroup_bytes": 8, "throttled_ns": 7}

    assert reading_of({**told, "engines": [[0, 5, 6], ["x"], [1, 2, 3]]}, 4) == Reading(
        4, 9, 8, 7, {0: (5, 6), 1: (2, 3)}
    )


@pytest.mark.parametrize("event", [{}, {"memory_limit_bytes": 9}, {"memory_limit_bytes": "9", "engines": []}])
def test_a_launcher_that_says_less_gives_no_reading(event) -> None:
    assert reading_of(event, 4) is None


@pytest.mark.parametrize("wrong", [2**62, -(2**80), True])
def test_what_no_machine_can_count_is_no_reading(wrong: int) -> None:
    event = {"memory_limit_bytes": 1, "cgroup_bytes": 1, "throttled_ns": 1, "engines": [[0, 1, wrong], [1, 1, 1]]}

    reading = reading_of(event, 5)

    assert reading is not None
    assert reading.processes == {1: (1, 1)}
    assert reading_of({**event, "cgroup_bytes": wrong}, 5) is None

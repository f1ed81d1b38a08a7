"""Workers report a second one after another."""

import pytest

from loadstone_runner.agent.uplink import turn_seconds

promise = pytest.mark.promise


@promise("rows-in-time")
def test_every_worker_has_a_turn_of_its_own_in_the_second_and_those_of_a_small_run_hardly_wait() -> None:
    turns = [turn_seconds(worker) for worker in range(1_000)]

    assert turns[0] == 0
    assert turns == sorted(set(turns))
    assert turns[9] < 0.01
    assert max(map(turn_seconds, range(5_000))) < 0.8

"""What every unit test may rely on: no greenlet of a test before it runs beside it."""

from collections.abc import Iterator
from weakref import WeakSet

import gevent
import pytest

ROUNDS = 10  # a lane survives the end of the handler that it runs, and goes on with the next


@pytest.fixture(autouse=True)
def greenlets_end_with_their_test() -> Iterator[None]:
    """End what a test has started and left, so that it starts nothing in the middle of the next one."""
    started: WeakSet[gevent.Greenlet] = WeakSet()
    gevent.Greenlet.add_spawn_callback(started.add)
    yield
    for _ in range(ROUNDS):
        if living := [each for each in started if not each.dead]:
            gevent.killall(living, block=False)
            gevent.joinall(living, timeout=0.1)
    gevent.Greenlet.remove_spawn_callback(started.add)

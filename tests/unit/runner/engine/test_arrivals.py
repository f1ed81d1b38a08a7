import pytest

from loadstone_runner.engine.arrivals import users_limit


@pytest.mark.parametrize(
    ("peak", "slots", "limit"),
    [(0, 1, 100), (5, 1, 100), (11, 1, 110), (11, 2, 100), (200, 3, 667), (100_000, 1, 10_000)],
)
def test_an_engine_may_make_users_for_ten_seconds_of_its_rate(peak, slots, limit) -> None:
    assert users_limit(peak, slots) == limit

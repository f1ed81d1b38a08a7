import pytest

from loadstone_core.load.lots import Lot
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_runner.engine.arrivals import users_limit


def load(peak, **fields):
    return LoadProfile(Model.RATE, Profile((Segment(0, 1, peak, peak),), 1), None, **fields)


@pytest.mark.parametrize(
    ("peak", "slots", "limit"),
    [(0, 1, 100), (5, 1, 100), (11, 1, 110), (11, 2, 100), (200, 3, 667), (100_000, 1, 10_000)],
)
def test_an_engine_may_make_users_for_ten_seconds_of_its_rate(peak, slots, limit) -> None:
    assert users_limit(load(peak), [Lot(0, slots)]) == limit


@pytest.mark.parametrize(("most", "slots"), [(1, 1), (7, 3), (1_000, 7)])
def test_the_most_users_that_are_asked_for_are_divided_exactly(most, slots) -> None:
    limits = [users_limit(load(10, max_users=most, preallocated_users=1), [Lot(slot, slots)]) for slot in range(slots)]

    assert sum(limits) == most


def test_preallocated_users_are_never_too_many() -> None:
    assert users_limit(load(1, preallocated_users=900), [Lot(1, 2)]) == 450

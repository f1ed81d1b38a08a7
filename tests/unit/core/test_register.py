"""Laws and cells of the configuration register."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.register import Held, Version, Weighed, weigh

HELD = Held(Version(2, 5), "sha256:a")

versions = st.builds(Version, st.integers(1, 4), st.integers(1, 4))
# One digest a version: what an honest writer offers.
honest = versions.map(lambda version: Held(version, f"sha256:{version.epoch}.{version.revision}"))


@pytest.mark.parametrize(
    ("held", "offered", "weighed"),
    [
        (None, Held(Version(1, 1), "sha256:b"), Weighed.ADOPT),
        (HELD, Held(Version(2, 6), "sha256:b"), Weighed.ADOPT),
        (HELD, Held(Version(3, 1), "sha256:b"), Weighed.ADOPT),
        (HELD, HELD, Weighed.CONFIRM),
        (HELD, Held(Version(2, 5), "sha256:b"), Weighed.CONFLICT),
        (HELD, Held(Version(2, 4), "sha256:a"), Weighed.STALE),
        (HELD, Held(Version(1, 9), "sha256:a"), Weighed.STALE),
        (None, Held(Version(1, 0), "sha256:b"), Weighed.INVALID),
        (HELD, Held(Version(9, 0), "sha256:a"), Weighed.INVALID),
    ],
)
def test_every_cell_of_the_register_answers_as_promised(held, offered, weighed):
    assert weigh(held, offered) is weighed


def hold(held, offers):
    for offered in offers:
        if weigh(held, offered) is Weighed.ADOPT:
            held = offered
    return held


@given(st.lists(honest, min_size=1, max_size=4))
def test_the_newest_configuration_wins_in_whatever_order_they_arrive(offers):
    assert {hold(None, order) for order in permutations(offers)} == {max(offers, key=lambda each: each.version)}


@given(st.lists(honest, min_size=1, max_size=8), st.data())
def test_holders_that_hear_of_configurations_in_orders_of_their_own_and_more_than_once_end_with_the_same(offers, data):
    def hear():
        # Each offer once at least, some again after any other: what is sent anew after a connection was lost.
        again = data.draw(st.lists(st.sampled_from(offers), max_size=4))
        held, went = None, []
        for offered in data.draw(st.permutations(offers + again)):
            weighed = weigh(held, offered)
            assert weighed is not Weighed.CONFLICT
            if weighed is Weighed.ADOPT:
                held = offered
                went.append(offered.version)
        assert went == sorted(set(went))
        return held

    assert {hear() for _ in range(3)} == {max(offers, key=lambda each: each.version)}


@given(honest)
def test_adopting_twice_changes_nothing(offered):
    assert weigh(hold(None, [offered]), offered) is Weighed.CONFIRM


@given(versions, st.sampled_from("ab"), st.sampled_from("ab"))
def test_one_version_never_means_two_things(version, held, offered):
    weighed = weigh(Held(version, held), Held(version, offered))

    assert (weighed is Weighed.CONFIRM) == (held == offered)
    assert weighed in {Weighed.CONFIRM, Weighed.CONFLICT}

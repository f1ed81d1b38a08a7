from __future__ import annotations

import pytest

from loadstone_core.units import SECOND
from loadstone_runner.master.losses import Losses
from loadstone_runner.master.roster import Departure, Member

GONE = Departure("Deleted", "its pod was deleted")


def losses(*workers: int) -> Losses:
    made = Losses()
    for worker in workers:
        made.note(Member(worker, attempt=1), GONE, since_ns=worker * SECOND)
    return made


def test_without_a_loss_there_is_nothing_to_say() -> None:
    assert losses().describe() == ""
    assert losses().newest(0) is None


def test_a_loss_says_when_its_load_was_taken_over_and_that_it_was_replaced() -> None:
    one = losses(1)
    assert one.describe() == ""
    assert one.settle(1_840_000_000)
    assert not one.settle(9 * SECOND)
    assert one.describe() == "its load was taken over after 0.8 s"
    one.replace(1)
    assert one.describe() == "its load was taken over after 0.8 s and it was replaced"


@pytest.mark.parametrize(
    ("settled_ns", "replaced", "says"),
    [
        (None, (), ""),
        (None, (1, 2), "all were replaced"),
        (3 * SECOND, (), "their load was taken over after 2.0 s at most"),
        (3 * SECOND, (2,), "their load was taken over after 2.0 s at most and 1 of them were replaced"),
    ],
)
def test_several_losses_are_told_together(settled_ns: int | None, replaced: tuple[int, ...], says: str) -> None:
    two = losses(1, 2)
    if settled_ns is not None:
        two.settle(settled_ns)
    for worker in replaced:
        two.replace(worker)

    assert two.describe() == says


def test_a_loss_after_the_others_were_settled_is_told_apart() -> None:
    some = losses(1)
    some.settle(2 * SECOND)
    some.note(Member(1, attempt=2), GONE, since_ns=5 * SECOND)

    assert some.describe() == "the load of 1 of them was taken over"
    newest = some.newest(1)
    assert newest is not None
    assert newest.attempt == 2

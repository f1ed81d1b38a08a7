"""What can be asked of a local run, and what the master is told of it."""

import pytest

from loadstone_core.load.change import Aim
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.units import SECOND
from loadstone_runner.local.wishes import Wishes, WishRefused


def constant(model: Model, value: int, **more: object) -> LoadProfile:
    return LoadProfile(model, Profile((Segment(0, 60 * SECOND, value, value),), 60 * SECOND), None, **more)


def stages() -> LoadProfile:
    return LoadProfile(Model.USERS, Profile((Segment(0, 60 * SECOND, 0, 10),), 60 * SECOND), None)


def wishes(**loads: LoadProfile) -> Wishes:
    plan = RunPlan(
        run=RunIdentity(uid="local-shop/1", loadtest="shop", namespace="local", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=1,
        engines_per_worker=1,
        scenarios=tuple(Scenario(name=name, load=load, graceful_stop_ns=0) for name, load in loads.items()),
        tolerance_ppm=10_000,
        target=None,
        percentiles=("50",),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=SECOND,
        script=ScriptRef(digest="d", directory="/scripts", entrypoint="test.py"),
    )
    return Wishes(plan)


def test_every_wish_is_told_whole_with_a_revision_of_its_own() -> None:
    wanted = wishes(browse=constant(Model.USERS, 10, spawn_rate=5), pay=constant(Model.RATE, 20))
    assert wanted.revision == 0
    wanted.aim(Aim("browse", 30))
    wanted.aim(Aim("pay", 40, is_rate=True))
    wanted.pause(is_paused=True)

    told = wanted.steering()

    assert (told.revision, told.paused, told.stop) == (3, True, False)
    assert [(each.scenario, each.value, each.spawn_rate, each.rate) for each in told.aims] == [
        ("browse", 30, 5, False),
        ("pay", 40, 0, True),
    ]


def test_the_only_scenario_needs_no_name_and_its_spawn_rate_stays() -> None:
    wanted = wishes(default=constant(Model.USERS, 10, spawn_rate=5))
    wanted.aim(Aim("", 7))
    wanted.aim(Aim("", 9, 2))

    assert [(each.scenario, each.value, each.spawn_rate) for each in wanted.steering().aims] == [("default", 9, 2)]


def test_a_stop_is_never_taken_back_and_only_becomes_more_urgent() -> None:
    wanted = wishes(default=constant(Model.USERS, 10))
    wanted.stop(is_immediate=True)
    wanted.stop(is_immediate=False)
    wanted.pause(is_paused=False)

    told = wanted.steering()

    assert (told.stop, told.stop_reason, told.immediate, told.revision) == (True, "Stopped", True, 3)


@pytest.mark.parametrize(
    ("aim", "words"),
    [
        (Aim("", 5), "say one of flat, climb, led, each"),
        (Aim("no", 5), "there is no scenario 'no'"),
        (Aim("climb", 5), "has stages or iterationsPerUser"),
        (Aim("each", 5), "has stages or iterationsPerUser"),
        (Aim("led", 5), "led by the script's shape"),
        (Aim("flat", 5, is_rate=True), "is of users"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence_and_changes_nothing(aim, words) -> None:
    wanted = wishes(
        flat=constant(Model.USERS, 10),
        climb=stages(),
        led=constant(Model.USERS, 0, is_shaped=True),
        each=constant(Model.USERS, 10, iterations_per_user=3),
    )

    with pytest.raises(WishRefused, match=words):
        wanted.aim(aim)
    assert wanted.revision == 0

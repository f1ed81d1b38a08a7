"""An operator that was started again knows of a run what objects tell, and decides as the one before would have."""

import pytest
from tests.unit.operator.shell import SECOND, Operator, run

from loadstone_core.clock import ManualClock
from loadstone_operator.observation import MasterView, Stage

promise = pytest.mark.promise
SOURCE = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
TALKING = MasterView(connected=True, stage=Stage.RUNNING)


async def restarted(before: Operator, *, ahead_seconds: int = 0) -> Operator:
    """Return another operator of the same cluster, which has read what there is; its clock may be ahead."""
    after = Operator()
    ahead = ManualClock(wall=before.clock.wall_ns() + ahead_seconds * SECOND)
    after.clock = after.controller._clock = after.looker._clock = after.actor._clock = ahead
    after.cluster = before.cluster
    after.controller._cluster = after.controller._actor._cluster = before.cluster
    await after.controller.resync()
    return after


async def running_from_a_config_map() -> Operator:
    operator = Operator()
    operator.cluster.config_maps["scripts"] = {"data": {"shop.py": "pass"}}
    await operator.hear(operator.cluster.put("checkout", source=SOURCE))
    for name in list(operator.cluster.pods):
        operator.pod(name, phase="Running", podIP="10.0.0.1")
    await operator.look()
    operator.masters.views["uid-checkout"] = TALKING
    await operator.look()
    return operator


async def lose_the_master(operator: Operator) -> None:
    operator.masters.views.pop("uid-checkout")
    operator.controller.heard_pod("DELETED", operator.cluster.pods.pop("checkout-m-1-1"))
    await operator.look()


@promise("master-restart", "operator-restart")
@pytest.mark.parametrize("is_restarted", [False, True], ids=["the same operator", "restarted"])
def test_a_lost_master_whose_script_is_in_a_config_map_is_replaced_also_by_another_operator(
    *, is_restarted: bool
) -> None:
    async def story() -> None:
        operator = await running_from_a_config_map()
        if is_restarted:
            operator = await restarted(operator)
            await operator.look()
            operator.masters.views["uid-checkout"] = TALKING
            await operator.look()
        await lose_the_master(operator)
        await operator.look()

        assert operator.status()["reason"] == "MasterRestarted"
        assert [name for name in operator.cluster.pods if "-m-" in name] == ["checkout-m-1-2"]

    run(story())


@promise("master-lost")
def test_a_master_whose_script_is_gone_by_then_is_lost() -> None:
    async def story() -> None:
        operator = await restarted(await running_from_a_config_map())
        await operator.look()
        operator.masters.views["uid-checkout"] = TALKING
        await operator.look()
        operator.cluster.config_maps.clear()
        await lose_the_master(operator)

        assert (operator.status()["verdict"], operator.status()["reason"]) == ("Error", "MasterLost")

    run(story())


@promise("operator-restart")
@pytest.mark.parametrize(
    ("master", "seconds"),
    [(None, 70), (MasterView(connected=True, stage=Stage.GATHERING), 180)],
    ids=["the operator ends it", "its master should"],
)
@pytest.mark.parametrize("ahead_seconds", [75, 400 * 86_400, -75])
def test_an_operator_that_comes_back_with_another_clock_gives_a_start_its_time(
    ahead_seconds: int, master: MasterView | None, seconds: int
) -> None:
    async def story() -> None:
        before = Operator()
        await before.hear(before.cluster.put("checkout", startupTimeout="60s"))
        for name in list(before.cluster.pods):
            before.pod(name, phase="Running", podIP="10.0.0.1")
        await before.look()

        operator = await restarted(before, ahead_seconds=ahead_seconds)
        await operator.look()
        if master is not None:
            operator.masters.views["uid-checkout"] = master
        for _ in range(seconds // 10 - 1):
            operator.clock.advance(10 * SECOND)
            await operator.look()
            assert operator.status()["phase"] == "Provisioning"
        operator.clock.advance(10 * SECOND)
        await operator.look()
        assert operator.status()["reason"] == "StartupTimeout"

    run(story())


@promise("operator-restart")
def test_an_operator_that_has_its_lease_back_counts_nothing_of_the_time_in_which_another_worked() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout", startupTimeout="60s"))
        await operator.look()
        operator.controller.is_primed = False
        operator.clock.advance(3_600 * SECOND)

        await operator.controller.resync()
        await operator.look()
        assert operator.status()["phase"] == "Provisioning"

    run(story())

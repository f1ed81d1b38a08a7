"""Each fault of the network by itself, for as long as a cluster's lease makes it: `make soak`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.component.distant_run import DistantRun, State, plan_of, rate
from tests.component.faulty_network import CUT, WHOLE, Faults
from tests.component.test_network_faults import DETECTED_SECONDS, check_exact, check_totals, done_of, networks, scenario

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.spec.model import OnLoss, Tls
from loadstone_protocol.v1 import control_pb2 as pb

promise = pytest.mark.promise
pytestmark = [pytest.mark.once, pytest.mark.timeout(240)]
# pytest finds a fixture by its name in the module of the test.
networks = networks  # noqa: PLW0127

PER_SECOND = 60
MUTUAL = {"tls": Tls.MUTUAL}
LENIENT = {"tolerance_ppm": 900_000}
# Where no round trip is quick clocks are off by half of what one way takes longer, and who ends early ends that of all.
FAR_OFF = Faults(loss=0.2)
OFF_SECONDS = 1
FAULTS = {
    "200 ms": Faults(delay_seconds=0.2),
    "5 % loss": Faults(loss=0.05),
    "20 % loss": FAR_OFF,
    "duplicates": Faults(duplicate=0.3),
    "reordering": Faults(reorder=0.5),
    "all of it": Faults(loss=0.05, duplicate=0.1, reorder=0.2, delay_seconds=0.2),
}


@promise("network-faults", "exact-totals", "mutual-tls")
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_a_bad_path_from_the_first_packet_to_the_last_costs_nothing(faults: Faults) -> None:
    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 45), workers=2, **MUTUAL)
        async with DistantRun(plan, {0: faults, 1: faults}) as run:
            results = await run.finish(120)

            if faults is FAR_OFF:
                check_totals(results, run.counted())
                assert done_of(run.counted(), range(PER_SECOND * (45 - OFF_SECONDS))) == 1
            else:
                check_exact(results, run.counted(), iterations=PER_SECOND * 45)
            assert all(State.LOST not in run.states(worker) for worker in range(2))

    scenario(run(), 230)


@promise("network-faults", "exact-totals")
def test_a_path_that_comes_and_goes_costs_nothing() -> None:
    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 60), workers=2)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            for round_ in range(8):
                run.fault(round_ % 2, Faults(forgets=True) if round_ > 4 else CUT)
                await asyncio.sleep(1 + round_)
                run.fault(round_ % 2, WHOLE)
                await asyncio.sleep(1)
            results = await run.finish(120)

            check_exact(results, run.counted(), iterations=PER_SECOND * 60)
            assert all(State.LOST not in run.states(worker) for worker in range(2))

    scenario(run(), 230)


@promise("network-faults", "exact-totals")
@pytest.mark.parametrize("ways", ["both", "up", "down"])
@pytest.mark.parametrize("seconds", [24, 33, 45])
def test_a_cut_of_any_length_costs_at_most_the_load_that_nobody_might_do(ways: str, seconds: int) -> None:
    """24 s are within the lease of 30 s, 33 s between that and the loss after 35 s, 45 s beyond both."""

    async def run() -> None:
        duration = 70
        plan = plan_of(rate(PER_SECOND, duration), workers=2, **LENIENT)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            cut_at = time.monotonic()
            if ways != "down":
                run.network.one_way("worker0", "master", CUT)
            if ways != "up":
                run.network.one_way("master", "worker0", CUT)
            noticed = await run.until_state(0, State.SUSPECT) - cut_at
            await asyncio.sleep(cut_at + seconds - time.monotonic())
            run.fault(0, WHOLE)
            results = await run.finish(120)
            counted = run.counted()

            assert noticed <= DETECTED_SECONDS
            if seconds < 30:
                check_exact(results, counted, iterations=PER_SECOND * duration)
                assert State.LOST not in run.states(0)
                return
            assert set(counted.values()) == {1}
            assert results["requests"] == results["started"] == counted.total(), results
            assert "unaccountedAtLeast" not in results, results
            assert done_of(counted, range(PER_SECOND * (duration - 10), PER_SECOND * duration)) > 0.8
            assert "lost 1 of 2 workers" in results["findings"], results["findings"]

    scenario(run(), 230)


@promise("network-faults", "exact-totals", "live-load")
def test_a_cut_in_a_pause_is_noticed_as_soon_and_the_load_goes_on_after_it() -> None:
    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 40), workers=2, **LENIENT)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            await run.steer(paused=True)
            await run.until(lambda report: report.paused)
            await asyncio.sleep(3)
            paused, cut_at = run.counted(), time.monotonic()
            run.fault(0, CUT)
            run.network.both_ways("operator", "master", CUT)
            held = run.workers[0].connections()
            hung_up = await run.until_hung_up(0, held) - cut_at
            await run.until_lost(DETECTED_SECONDS + 5)
            noticed = run.losses[-1][0] - cut_at
            run.network.both_ways("operator", "master", WHOLE)
            await run.until_state(0, State.SUSPECT)
            run.fault(0, WHOLE)
            await run.until_state(0, State.RUNNING_WORKER)
            assert run.counted() == paused
            await run.steer(paused=False)
            results = await run.finish(120)
            counted = run.counted()
            print(f"hung up after {hung_up:.1f} s, follower after {noticed:.1f} s")

            assert max(hung_up, noticed) <= DETECTED_SECONDS
            assert counted.total() > paused.total()
            assert set(counted.values()) == {1}
            assert results["requests"] == results["started"] == counted.total(), results
            assert results["unaccounted"] == 0

    scenario(run(), 230)


@promise("network-faults", "exact-totals")
@pytest.mark.parametrize("seconds", [8, 14])
def test_a_cut_over_the_end_of_the_load_costs_nothing(seconds: int) -> None:
    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 15), workers=2)
        async with DistantRun(plan) as run:
            await run.until_load(11)
            run.fault(0, CUT)
            run.network.one_way("master", "worker1", CUT)
            await asyncio.sleep(seconds)
            run.fault(0, WHOLE)
            run.fault(1, WHOLE)
            results = await run.finish(120)

            check_exact(results, run.counted(), iterations=PER_SECOND * 15)

    scenario(run(), 230)


@promise("network-faults", "exact-totals")
def test_a_cut_before_the_load_only_delays_it_and_a_follower_that_waits_notices_one_too() -> None:
    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 10), workers=2)
        async with DistantRun(plan, {0: CUT}) as run:
            await run.until(lambda report: report.workers[1].state == State.READY_WORKER)
            await asyncio.sleep(3)
            cut_at = time.monotonic()
            run.network.both_ways("operator", "master", CUT)
            await run.until_lost(DETECTED_SECONDS + 5)
            noticed = run.losses[-1][0] - cut_at
            run.network.both_ways("operator", "master", WHOLE)
            await run.until(lambda report: report.stage == pb.GATHERING)
            run.fault(0, WHOLE)
            results = await run.finish(120)
            print(f"follower noticed after {noticed:.1f} s")

            assert noticed <= DETECTED_SECONDS
            check_exact(results, run.counted(), iterations=PER_SECOND * 10)

    scenario(run(), 230)


@promise("network-faults", "exact-totals")
def test_a_worker_whose_way_to_the_master_is_slow_at_the_start_alone_does_nothing_at_another_time() -> None:
    """Half of two seconds on the way up would be taken for the master's clock, if it were not known from before."""

    async def run() -> None:
        plan = plan_of(rate(PER_SECOND, 15), workers=2)
        async with DistantRun(plan, {0: CUT}) as run:
            await run.until_state(1, State.READY_WORKER)
            held = run.workers[1].connections()
            run.network.one_way("worker1", "master", Faults(delay_seconds=2.2, forgets=True))
            await run.until_hung_up(1, held)
            await run.until_state(1, State.SUSPECT)
            await run.until_state(1, State.READY_WORKER)
            run.fault(0, WHOLE)
            await run.until_load()
            run.fault(1, WHOLE)
            results = await run.finish(120)

            check_exact(results, run.counted(), iterations=PER_SECOND * 15)

    scenario(run(), 230)


@promise("network-faults", "exact-totals", "load-moves")
@pytest.mark.parametrize("seconds", [10, 45])
def test_iterations_that_were_granted_behind_a_cut_are_never_done_twice(seconds: int) -> None:
    async def run() -> None:
        iterations = 1_500
        load = LoadProfile(Model.ITERATIONS, Profile((Segment(0, 2**63 - 1, 4, 4),), None), iterations)
        async with DistantRun(plan_of(load, workers=2, **LENIENT)) as run:
            await run.until_load(3)
            run.fault(0, CUT)
            await asyncio.sleep(seconds)
            run.fault(0, WHOLE)
            results = await run.finish(150)
            counted = run.counted()

            assert set(counted.values()) == {1}
            assert results["requests"] == results["started"] == counted.total(), results
            if seconds < 30:
                assert set(counted) == set(range(iterations))

    scenario(run(), 230)


@promise("network-faults", "load-moves", "worker-lost", "mutual-tls")
@pytest.mark.parametrize("back_after", [1, 34, 50])
def test_a_worker_and_its_successor_never_do_the_same(back_after: int) -> None:
    async def run() -> None:
        duration = 75
        plan = plan_of(rate(PER_SECOND, duration), workers=2, on_loss=OnLoss.REPLACE, **LENIENT, **MUTUAL)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            cut_at, vanished = time.monotonic(), run.workers[0]
            run.fault(0, CUT)
            await run.join(0, attempt=2, node="spare")
            await run.until(lambda report: report.workers[0].attempt == 2)
            await asyncio.sleep(max(0, cut_at + back_after - time.monotonic()))
            run.fault(0, WHOLE)
            await asyncio.wait_for(vanished.agent.wait(), DETECTED_SECONDS)
            results: dict[str, Any] = await run.finish(120)
            counted = run.counted()

            assert set(counted.values()) == {1}
            assert run.counted("spare")
            assert done_of(counted, range(PER_SECOND * (duration - 10), PER_SECOND * duration)) > 0.8
            assert results["requests"] - results["unsent"] - results["ambiguous"] <= counted.total(), results

    scenario(run(), 230)

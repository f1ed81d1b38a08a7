"""Faults of the network between the real processes of a run: they are seen soon, and nothing is lost or done twice.

What is short here is made longer, one fault at a time and with the lease of a cluster, by `make soak`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.distant_run import DistantRun, State, plan_of, rate
from tests.component.faulty_network import CUT, WHOLE, Faults, why_not
from tests.lacking import lacks

from loadstone_core.spec.model import OnLoss, Tls

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Coroutine

promise = pytest.mark.promise
pytestmark = pytest.mark.once

DETECTED_SECONDS = 15.0
PER_SECOND = 60
SLOW = Faults(delay_seconds=0.2)
POOR = Faults(loss=0.05, duplicate=0.1, reorder=0.25)
BAD = Faults(loss=0.2)


@pytest.fixture(autouse=True)
def networks() -> None:
    if why := why_not():
        lacks(f"faults of the network need networks of their own: {why}")


def scenario(made: Coroutine[Any, Any, None], seconds: float = 110) -> None:
    asyncio.run(asyncio.wait_for(made, seconds))


def done_of(counted: Counter[int], numbers: range) -> float:
    """Return the share of these iterations that were done: a busy machine drops some, a worker's part is a third."""
    return len(counted.keys() & set(numbers)) / len(numbers)


def check_exact(results: dict[str, Any], counted: Counter[int], *, iterations: int) -> None:
    """Every iteration was done once, and the status holds what the targets have counted."""
    assert counted == dict.fromkeys(range(iterations), 1), (results["reason"], results["findings"])
    check_totals(results, counted)


def check_totals(results: dict[str, Any], counted: Counter[int]) -> None:
    """No iteration was done twice, and the status holds what the targets have counted."""
    assert set(counted.values()) == {1}
    assert results["requests"] == results["started"] == len(counted)
    assert (results["unsent"], results["ambiguous"], results["unaccounted"]) == (0, 0, 0)
    assert "unaccountedAtLeast" not in results


@promise("network-faults", "exact-totals")
def test_bad_paths_and_a_follower_that_is_cut_off_disturb_no_run() -> None:
    async def run() -> None:
        seconds = 15
        plan = plan_of(rate(PER_SECOND, seconds), workers=3)
        async with DistantRun(plan, {0: SLOW, 1: POOR, 2: BAD}) as run:
            await run.until_load(1)
            cut_at = time.monotonic()
            run.network.both_ways("operator", "master", CUT)
            await run.until_lost(DETECTED_SECONDS + 5)
            noticed_seconds = run.losses[-1][0] - cut_at
            run.network.both_ways("operator", "master", WHOLE)
            results = await run.finish()

            assert noticed_seconds <= DETECTED_SECONDS
            check_exact(results, run.counted(), iterations=PER_SECOND * seconds)
            assert all(State.LOST not in run.states(worker) for worker in range(3))
            assert "lost" not in results["findings"]
            assert run.network.counts("worker1", "master")["doubled"] > 0
            assert run.network.counts("master", "worker1")["reordered"] > 0
            assert run.network.counts("worker2", "master")["lost"] > 0

    scenario(run())


@promise("network-faults", "exact-totals", "mutual-tls")
def test_workers_that_are_cut_off_for_less_than_their_lease_are_seen_soon_and_lose_nothing() -> None:
    async def run() -> None:
        seconds = 24
        plan = plan_of(rate(PER_SECOND, seconds), workers=4, tls=Tls.MUTUAL)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            before = [run.counted(f"worker{worker}").total() for worker in range(4)]
            held = [run.workers[worker].connections() for worker in range(4)]
            cut_at = time.monotonic()
            run.fault(0, CUT)
            run.network.one_way("worker1", "master", CUT)
            run.network.one_way("master", "worker2", CUT)
            run.fault(3, Faults(forgets=True))
            watching = [run.until_state(worker, State.SUSPECT) for worker in range(3)]
            hanging_up = [run.until_hung_up(worker, held[worker]) for worker in range(4)]
            noticed = [at - cut_at for at in await asyncio.gather(*watching, *hanging_up)]
            during = [run.counted(f"worker{worker}").total() for worker in range(4)]
            for worker in range(4):
                run.fault(worker, WHOLE)
            print(f"noticed after {noticed}, load {before} {during}")
            for worker in range(4):
                await run.until_state(worker, State.RUNNING_WORKER)
            results = await run.finish()

            assert max(noticed) <= DETECTED_SECONDS, noticed
            assert all(later > earlier for earlier, later in zip(before, during, strict=True))
            check_exact(results, run.counted(), iterations=PER_SECOND * seconds)
            assert all(State.LOST not in run.states(worker) for worker in range(4))
            assert "lost" not in results["findings"]

    scenario(run())


@promise("network-faults", "load-moves", "exact-totals")
def test_workers_that_are_cut_off_for_longer_are_relieved_and_tell_all_when_they_are_back() -> None:
    async def run() -> None:
        seconds, lease_seconds = 32, 8
        changes = {"max_lost_percent": 67, "tolerance_ppm": 500_000}
        plan = plan_of(rate(PER_SECOND, seconds), workers=3, lease_seconds=lease_seconds, **changes)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            cut_at = time.monotonic()
            run.fault(0, CUT)
            run.network.one_way("worker1", "master", CUT)
            lost = [await run.until_state(worker, State.LOST) - cut_at for worker in (0, 1)]
            silent = run.counted("worker0", "worker1")
            relieved_from = max(run.counted("worker2"))
            await asyncio.sleep(4)
            assert run.counted("worker0", "worker1") == silent, "whose lease is over makes no load"
            for worker in (0, 1):
                run.fault(worker, WHOLE)
            results = await run.finish()
            counted = run.counted()
            print(f"lost after {lost}")

            assert min(lost) >= lease_seconds
            assert set(counted.values()) == {1}
            assert results["requests"] == results["started"] == counted.total(), results
            assert (results["unsent"], results["ambiguous"], results["unaccounted"]) == (0, 0, 0)
            last = range(PER_SECOND * (seconds - 4), PER_SECOND * seconds)
            assert relieved_from < last.start
            assert done_of(counted, last) > 0.8, (results["reason"], results["findings"])
            assert "lost 2 of 3 workers" in results["findings"], results["findings"]
            assert "load was taken over" in results["findings"]

    scenario(run())


@promise("network-faults", "load-moves", "worker-lost")
def test_a_worker_that_vanished_without_a_word_is_replaced_and_refused_when_it_is_back() -> None:
    async def run() -> None:
        seconds = 25
        changes = {"on_loss": OnLoss.REPLACE, "tolerance_ppm": 500_000}
        plan = plan_of(rate(PER_SECOND, seconds), workers=2, lease_seconds=8, **changes)
        async with DistantRun(plan) as run:
            await run.until_load(2)
            vanished = run.workers[0]
            run.fault(vanished.number, CUT)
            await run.join(vanished.number, attempt=2, node="spare")
            await run.until(lambda report: report.workers[vanished.number].attempt == 2)
            run.fault(vanished.number, WHOLE)
            await asyncio.wait_for(vanished.agent.wait(), DETECTED_SECONDS)
            refused = run.counted(vanished.node)
            results = await run.finish()
            counted = run.counted()

            assert run.counted(vanished.node) == refused
            assert set(counted.values()) == {1}
            assert run.counted("spare"), "its successor has load"
            last = range(PER_SECOND * (seconds - 4), PER_SECOND * seconds)
            assert done_of(counted, last) > 0.8, (results["reason"], results["findings"])
            known = results["requests"] - results["unsent"] - results["ambiguous"]
            assert known <= counted.total()
            assert results["unaccountedAtLeast"] or counted.total() <= results["started"] - results["unsent"]
            assert "it was replaced" in results["findings"], results["findings"]

    scenario(run())

"""Workers are added to a run that goes on, and leave it: the shell driven by hand, with the ports' ends in memory."""

import asyncio
from dataclasses import replace

import pytest
from tests.unit.operator.shell import Operator, run, running

from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.capacity import Limits
from loadstone_operator.observation import CreationProblem, MasterView, Outcome, Stage, WorkerView
from loadstone_operator.ports import Key

PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)
OVER = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)


def says(operator: Operator, *states: str, name: str = "checkout", stage: Stage = Stage.RUNNING) -> None:
    """Let the master of a run list its workers, each with the newest attempt that has a pod; 0 if it has not come."""
    workers = []
    for index, state in enumerate(states):
        made = [each for each in operator.cluster.pods if each.startswith(f"{name}-w-1-{index}-")]
        attempt = 0 if state == "Expected" else max(int(each.rpartition("-")[2]) for each in made)
        workers.append(WorkerView(index, attempt, state))
    operator.masters.views[f"uid-{name}"] = MasterView(connected=True, stage=stage, workers=tuple(workers))


def engines(operator: Operator, pod: str) -> str:
    (agent,) = operator.cluster.pods[pod]["spec"]["initContainers"]
    return next(str(each["value"]) for each in agent["env"] if each["name"] == "LOADSTONE_ENGINES")


FOUR_CORES = {"resources": {"limits": {"cpu": "4", "memory": "1Gi"}}}


@pytest.mark.promise("live-replicas")
def test_workers_are_added_to_a_run_that_goes_on_and_each_is_like_the_first() -> None:
    async def story() -> None:
        operator, crew = Operator(), {"replicas": 2, "template": FOUR_CORES}
        await operator.hear(operator.cluster.put("checkout", workers=crew))
        await running_on(operator)
        says(operator, "Running", "Running")
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={**crew, "replicas": 3}))
        await operator.look()
        assert operator.masters.wishes["uid-checkout"].workers == 3
        assert operator.status()["workers"]["desired"] == 3
        assert "checkout-w-1-2-1" not in operator.cluster.pods

        says(operator, "Running", "Running", "Expected")
        await operator.look()
        # What an engine's part is was fixed when the run was planned.
        assert engines(operator, "checkout-w-1-2-1") == engines(operator, "checkout-w-1-0-1") == "2"
        operator.pod("checkout-w-1-2-1", phase="Running")
        says(operator, "Running", "Running", "Running")
        await operator.look()
        assert operator.status()["workers"]["ratio"] == "3/3"

    run(story())


@pytest.mark.promise("live-replicas")
def test_workers_leave_a_run_that_goes_on_once_their_load_is_elsewhere_and_come_again_with_another_attempt() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout", workers={"replicas": 3}))
        await running_on(operator)
        says(operator, "Running", "Running", "Running")
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 1}))
        assert operator.masters.wishes["uid-checkout"].workers == 1
        assert len(operator.cluster.pods) == 4
        says(operator, "Running", "Retired", "Running")
        await operator.look()
        assert "checkout-w-1-1-1" not in operator.cluster.pods
        assert "checkout-w-1-2-1" in operator.cluster.pods
        says_gone(operator)
        await operator.look()
        assert set(operator.cluster.pods) == {"checkout-m-1-1", "checkout-w-1-0-1"}
        assert (operator.status()["workers"]["desired"], operator.status()["workers"]["ratio"]) == (1, "1/1")
        assert "message" not in operator.status()

        await operator.hear(operator.cluster.put("checkout", generation=3, workers={"replicas": 2}))
        for _ in range(3):
            await operator.look()
        assert operator.status()["workers"]["attempts"] == [{"worker": 1, "attempt": 2}]
        assert set(operator.cluster.pods) == {"checkout-m-1-1", "checkout-w-1-0-1", "checkout-w-1-1-2"}
        await asyncio.sleep(0)
        assert operator.cluster.tales == ["RunStarted", "Scaled", "Scaled"]

    run(story())


async def running_on(operator: Operator) -> None:
    for name in list(operator.cluster.pods):
        operator.pod(name, phase="Running", podIP="10.0.0.1")
    await operator.look()


def says_gone(operator: Operator) -> None:
    gone = (WorkerView(0, 1, "Running"), WorkerView(1, 1, "Ended"), WorkerView(2, 1, "Retired"))
    operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.RUNNING, workers=gone)


@pytest.mark.promise("live-replicas", "limits")
def test_more_workers_than_the_limit_allows_come_when_another_run_has_ended() -> None:
    async def story() -> None:
        operator = Operator(Limits(total_workers=5))
        await running(operator)
        await operator.hear(operator.cluster.put("second", created="2"))
        says(operator, "Running", "Running")
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 4}))
        assert operator.masters.wishes["uid-checkout"].workers == 2
        assert operator.status()["workers"]["desired"] == 2
        assert "waits for 2 more: others use 2 of the installation's 5" in operator.status()["message"]

        operator.masters.views["uid-second"] = OVER
        operator.pod("second-m-1-1", phase="Running", podIP="10.0.0.2")
        await operator.look("second")
        for name in ("second-w-1-0-1", "second-w-1-1-1"):
            operator.pod(name, phase="Succeeded")
        await operator.look("second")
        woken = {await asyncio.wait_for(operator.queue.take(), 1) for _ in range(len(operator.queue))}
        assert Key("shop", "checkout") in woken
        await operator.look()
        assert operator.masters.wishes["uid-checkout"].workers == 4
        assert operator.status()["workers"]["desired"] == 4
        assert "message" not in operator.status()

    run(story())


@pytest.mark.promise("live-replicas", "quota")
def test_a_pod_that_the_quota_refuses_is_told_and_tried_again() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 3}))
        says(operator, "Running", "Running", "Expected")
        operator.cluster.refusal = CreationProblem(Reason.QUOTA_EXCEEDED, "quota small", is_fatal=False)
        await operator.look()
        assert await operator.look() == 1.0
        assert (operator.status()["reason"], operator.status()["message"]) == ("QuotaExceeded", "quota small")
        operator.cluster.refusal = None
        await operator.look()
        await operator.look()
        assert "checkout-w-1-2-1" in operator.cluster.pods
        assert "message" not in operator.status()

    run(story())


@pytest.mark.promise("live-replicas", "quota")
def test_a_refusal_of_pods_that_are_not_wanted_any_more_is_the_cause_of_nothing_that_comes_later() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout"))
        for name in list(operator.cluster.pods):
            operator.pod(name, phase="Running", podIP="10.0.0.1")
        says(operator, "Ready", "Ready", stage=Stage.GATHERING)
        await operator.look()
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 3}))
        says(operator, "Ready", "Ready", "Expected", stage=Stage.GATHERING)
        operator.cluster.refusal = CreationProblem(Reason.QUOTA_EXCEEDED, "quota small", is_fatal=False)
        await operator.look()
        await operator.look()
        assert operator.status()["message"] == "quota small"
        await operator.hear(operator.cluster.put("checkout", generation=3, workers={"replicas": 2}))
        says(operator, "Ready", "Ready", stage=Stage.GATHERING)
        await operator.look()
        late = Outcome(Verdict.ERROR, Reason.STARTUP_TIMEOUT, "worker 1 is late", 1)
        operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.FINISHED, outcome=late)
        await operator.look()

        assert (operator.status()["reason"], operator.status()["message"]) == ("StartupTimeout", "worker 1 is late")

    run(story())


@pytest.mark.promise("live-replicas", "operator-restart")
def test_an_operator_that_comes_back_goes_on_with_the_number_that_it_finds() -> None:
    async def story() -> None:
        before, after = Operator(), Operator()
        await running(before)
        says(before, "Running", "Running")
        await before.hear(before.cluster.put("checkout", generation=2, workers={"replicas": 3}))
        assert before.status()["workers"]["desired"] == 3
        after.cluster = before.cluster
        after.controller._cluster = after.controller._actor._cluster = before.cluster
        await after.controller.resync()
        await after.look()
        says(after, "Running", "Running", "Expected")
        await after.look()
        assert after.masters.wishes["uid-checkout"].workers == 3
        await after.look()
        assert "checkout-w-1-2-1" in before.cluster.pods

    run(story())


@pytest.mark.promise("live-replicas", "operator-restart", "master-restart")
def test_a_worker_whose_pod_was_never_made_gets_one_from_an_operator_and_a_master_that_know_neither() -> None:
    async def story() -> None:
        before, after = Operator(), Operator()
        await running(before)
        says(before, "Running", "Running")
        await before.hear(before.cluster.put("checkout", generation=2, workers={"replicas": 3}))
        # The master lists it, and both it and the operator are lost before there is a pod.
        before.controller.heard_pod("DELETED", before.cluster.pods.pop("checkout-m-1-1"))
        for _ in range(3):
            await before.look()
        assert before.status()["run"]["epoch"] == 2
        after.cluster = before.cluster
        after.controller._cluster = after.controller._actor._cluster = before.cluster
        await after.controller.resync()
        after.pod("checkout-m-1-2", phase="Running", podIP="10.0.0.2")
        await after.look()
        says(after, "Running", "Running", "Expected")
        for _ in range(2):
            await after.look()
        assert after.masters.wishes["uid-checkout"].workers == 3
        assert "checkout-w-1-2-1" in before.cluster.pods

    run(story())


@pytest.mark.promise("live-replicas", "operator-restart")
def test_a_master_that_missed_the_way_back_to_the_plan_is_told_of_it_by_an_operator_that_comes_back() -> None:
    async def story() -> None:
        before, after = Operator(), Operator()
        await running(before)
        says(before, "Running", "Running")
        await before.look()
        assert before.masters.wishes == {}, "nobody has edited anything, so no run waits for a word"
        load = {"users": 4, "duration": "10s"}
        edit = {"load": {**load, "users": 9, "paused": True}, "workers": {"replicas": 3}}
        await before.hear(before.cluster.put("checkout", generation=2, **edit))
        wish = before.masters.wishes["uid-checkout"]
        assert (wish.workers, wish.paused) == (3, True)
        says(before, "Running", "Running", "Expected")
        before.masters.views["uid-checkout"] = replace(before.masters.views["uid-checkout"], connected=False)
        await before.hear(before.cluster.put("checkout", generation=3))
        assert before.status()["workers"]["desired"] == 2

        after.cluster = before.cluster
        after.controller._cluster = after.controller._actor._cluster = before.cluster
        await after.controller.resync()
        await after.look()
        says(after, "Running", "Running", "Expected")
        await after.look()
        wish = after.masters.wishes["uid-checkout"]
        assert (wish.workers, wish.paused, wish.config) == (2, False, {})
        assert [aim.value for aim in wish.aims] == [4]

    run(story())


@pytest.mark.promise("live-replicas")
def test_another_master_is_made_of_the_plan_and_told_of_the_number() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        says(operator, "Running", "Running")
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 3}))
        operator.controller.heard_pod("DELETED", operator.cluster.pods.pop("checkout-m-1-1"))
        for _ in range(3):
            await operator.look()

        (master, _) = (
            *operator.cluster.pods["checkout-m-1-2"]["spec"]["initContainers"],
            *operator.cluster.pods["checkout-m-1-2"]["spec"]["containers"],
        )
        told = {each["name"]: each.get("value") for each in master["env"]}
        assert (told["LOADSTONE_WORKERS"], told["LOADSTONE_WORKERS_MADE"]) == ("3", "3")

    run(story())


@pytest.mark.promise("live-replicas")
def test_a_run_of_iterations_keeps_its_workers_and_says_so() -> None:
    async def story() -> None:
        operator = Operator()
        load = {"users": 4, "iterations": 100}
        await operator.hear(operator.cluster.put("checkout", load=load))
        await running_on(operator)
        says(operator, "Running", "Running")
        await operator.look()
        await operator.hear(operator.cluster.put("checkout", generation=2, load=load, workers={"replicas": 3}))
        assert operator.masters.wishes["uid-checkout"].workers == 0
        assert operator.status()["workers"]["desired"] == 2
        assert "spec.workers.replicas counts from the next run on" in operator.status()["message"]

    run(story())

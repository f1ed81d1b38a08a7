"""What an operator remembers does not grow with the LoadTests and runs that it has seen."""

from typing import Any

from tests.unit.operator.shell import SECOND, Operator, run

from loadstone_core.errors import WorldError
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.observation import MasterView, Outcome, Stage
from loadstone_operator.ports import Key

SOURCE = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)
OVER = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)
ENDED: dict[str, Any] = {
    "phase": "Failed",
    "containerStatuses": [{"state": {"terminated": {"exitCode": 143, "reason": "Error"}}}],
}


def test_nothing_is_kept_of_a_loadtest_whose_pods_are_heard_of_after_it_has_gone() -> None:
    async def story() -> None:
        operator = Operator()
        for name in ("commit-1", "commit-2"):
            await operator.hear(operator.cluster.put(name))
            pods = [pod for pod in operator.cluster.pods if pod.startswith(name)]
            for pod in pods:
                operator.pod(pod, **ENDED)
            operator.controller.heard_test("DELETED", operator.cluster.tests.pop(Key("shop", name)))
            for pod in pods:
                operator.controller.heard_pod("DELETED", operator.cluster.pods.pop(pod))
        await operator.controller.resync()

        assert all(operator.store.ended(f"uid-{name}", 1) == () for name in ("commit-1", "commit-2"))
        assert all(operator.store.masters_ended(f"uid-{name}", 1) == 0 for name in ("commit-1", "commit-2"))

    run(story())


def test_how_pods_ended_is_kept_for_a_loadtest_that_is_there_or_that_is_yet_to_be_heard_of() -> None:
    async def story() -> None:
        before, after = Operator(), Operator()
        for name in ("checkout", "late", "gone"):
            await before.hear(before.cluster.put(name))
            before.pod(f"{name}-m-1-1", **ENDED)
            before.pod(f"{name}-w-1-0-1", **ENDED)
        tests, pods = before.cluster.tests, before.cluster.pods
        # A watch of pods may be faster than one of LoadTests.
        for pod in pods.values():
            after.controller.heard_pod(None, pod)
        for name in ("checkout", "gone"):
            after.controller.heard_test(None, tests[Key("shop", name)])
        for pod in ("checkout-m-1-1", "checkout-w-1-0-1"):
            after.controller.heard_pod("DELETED", pods[pod])
        after.controller.heard_test("DELETED", tests[Key("shop", "gone")])
        after.controller.heard_test(None, tests[Key("shop", "late")])

        for name in ("checkout", "late"):
            assert [end.worker for end in after.store.ended(f"uid-{name}", 1)] == [0]
            assert after.store.masters_ended(f"uid-{name}", 1) == 1

    run(story())


def test_a_run_that_is_in_the_status_has_those_before_forgotten() -> None:
    async def story() -> None:
        operator = Operator()
        for number in (1, 2, 3):
            await operator.hear(operator.cluster.put("checkout", generation=number, trigger=f"t{number}"))
            await operator.look()
            for pod in [pod for pod in operator.cluster.pods if f"-{number}-" in pod]:
                operator.pod(pod, phase="Running", podIP="10.0.0.1")
            operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.RUNNING)
            await operator.look()
            operator.pod(f"checkout-w-{number}-1-1", **ENDED)
            await operator.look()
            assert [end.worker for end in operator.masters.wishes["uid-checkout"].ended] == [1]
            operator.masters.views["uid-checkout"] = OVER
            operator.clock.advance(SECOND)
            await operator.look()

        assert operator.status()["run"]["number"] == 3
        assert [len(operator.store.ended("uid-checkout", number)) for number in (3, 2, 1)] == [1, 0, 0]

    run(story())


class Refused(Operator):
    """Whatever it does for a LoadTest is refused; notes for how many seconds it waits then."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

        async def refuse(*_: Any) -> list[dict[str, Any]]:
            raise WorldError("denied")

        self.cluster.make_children = refuse  # type: ignore[method-assign]
        self.queue.add_later = lambda _, seconds: self.waits.append(seconds)  # type: ignore[method-assign]


def test_a_loadtest_that_fails_for_hours_is_tried_again_every_half_minute() -> None:
    async def story() -> None:
        operator, key = Refused(), Key("shop", "checkout")
        operator.controller.heard_test("ADDED", operator.cluster.put("checkout"))
        for _ in range(1_100):
            await operator.controller._reconcile_safely(key)

        assert operator.waits[:5] == [1, 2, 4, 8, 16]
        assert set(operator.waits[5:]) == {30}

    run(story())


def test_another_loadtest_of_the_name_of_one_that_failed_begins_with_the_shortest_wait() -> None:
    async def story() -> None:
        operator, key = Refused(), Key("shop", "checkout")
        old = operator.cluster.put("checkout")
        operator.controller.heard_test("ADDED", old)
        for _ in range(10):
            await operator.controller._reconcile_safely(key)
        # Nobody looks between the two.
        operator.controller.heard_test("DELETED", old)
        new = operator.cluster.put("checkout")
        new["metadata"]["uid"] = "uid-another"
        operator.controller.heard_test("ADDED", new)
        operator.waits.clear()
        await operator.controller._reconcile_safely(key)
        assert operator.waits == [1]

        operator.controller.heard_test("DELETED", new)
        await operator.controller._reconcile_safely(key)
        assert operator.controller._failures == {}

    run(story())


def test_the_script_of_a_run_that_has_ended_is_not_kept_and_the_next_run_reads_it_again() -> None:
    async def story() -> None:
        operator = Operator()
        operator.cluster.config_maps["scripts"] = {"data": {"shop.py": "pass" + " " * 1000}}
        for number in (1, 2, 3):
            spec: dict[str, Any] = {"trigger": f"t{number}", "source": SOURCE}
            await operator.hear(operator.cluster.put("checkout", generation=number, **spec))
            await operator.look()
            # The first run was read for before it had its number.
            assert (operator.looker._memories["uid-checkout"].files is not None) == (number > 1)
            for pod in [pod for pod in operator.cluster.pods if f"-{number}-" in pod]:
                operator.pod(pod, phase="Running", podIP="10.0.0.1")
            operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.RUNNING)
            await operator.look()
            operator.masters.views["uid-checkout"] = OVER
            operator.clock.advance(SECOND)
            await operator.look()
            assert operator.status()["verdict"] == "Passed"
            operator.clock.advance(SECOND)
            await operator.look()
            assert operator.looker._memories["uid-checkout"].files is None

        assert operator.cluster.calls.count("get scripts") == 3
        assert operator.status()["run"]["number"] == 3

    run(story())


def test_a_loadtest_that_was_refused_first_begins_with_the_script_that_it_has_read() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout", source=SOURCE))
        for _ in range(2):
            operator.clock.advance(6 * SECOND)
            await operator.look()
        assert operator.status()["reason"] == "SourceNotFound"
        operator.cluster.config_maps["scripts"] = {"data": {"shop.py": "pass"}}
        operator.clock.advance(2 * SECOND)
        await operator.hear(operator.cluster.put("checkout", generation=2, source=SOURCE))

        assert operator.status()["phase"] == "Provisioning"

    run(story())

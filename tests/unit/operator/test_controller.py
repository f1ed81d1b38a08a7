"""The shell joins what the pure rooms decide: driven here by hand, with the ports' ends in memory."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.shell import SECOND, Operator, run, running

from loadstone_core.clock import rfc3339
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator import naming
from loadstone_operator.actions import CreateWorkers
from loadstone_operator.capacity import Limits
from loadstone_operator.controller import progress_seconds
from loadstone_operator.observation import CreationProblem, MasterView, Outcome, Stage
from loadstone_operator.ports import Key, StatusConflict

PASSED = Outcome(Verdict.PASSED, Reason.PASSED, "held", 0, results={"requests": 1}, has_report=True)
OVER = MasterView(connected=True, stage=Stage.FINISHED, outcome=PASSED)


def test_the_pods_of_the_first_run_wait_for_no_read_and_no_write() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout"))

        assert operator.cluster.calls == ["make 1 with 2", "status Provisioning"]
        assert operator.status()["run"]["cause"] == "Created"
        assert set(operator.cluster.pods) == {"checkout-m-1-1", "checkout-w-1-0-1", "checkout-w-1-1-1"}

    run(story())


def test_looking_again_does_nothing_but_mark_the_run() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout"))
        await operator.look()
        await operator.look()

        assert operator.cluster.calls == ["make 1 with 2", "status Provisioning", "mark"]

    run(story())


def test_the_echo_of_a_write_is_no_reason_to_look_again_but_a_new_phase_is() -> None:
    async def story() -> None:
        operator, key = Operator(), Key("shop", "checkout")
        operator.controller.heard_test("MODIFIED", operator.cluster.put("checkout"))
        assert await operator.queue.take() == key
        await operator.controller.reconcile(key)
        operator.queue.done(key)
        assert len(operator.queue) == 1

        assert await operator.queue.take() == key
        operator.queue.done(key)
        operator.controller.heard_test("MODIFIED", operator.cluster.tests[key])
        assert len(operator.queue) == 0
        operator.controller.heard_test("MODIFIED", operator.cluster.put("checkout"))
        assert len(operator.queue) == 1

    run(story())


def test_a_run_goes_from_apply_to_verdict_and_its_master_is_released() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        assert operator.status()["phase"] == "Running"
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        assert (operator.status()["verdict"], operator.status()["report"]) == ("Passed", "checkout-report")
        assert operator.cluster.reports == [(1, b"report")]
        await operator.look()
        assert operator.masters.views["uid-checkout"].stored
        await asyncio.sleep(0)
        assert operator.cluster.tales == ["RunStarted", "Passed"]

    run(story())


def test_a_restarted_operator_starts_nothing_and_follows_the_master() -> None:
    async def story() -> None:
        before, after = Operator(), Operator()
        await running(before)
        after.cluster = before.cluster
        after.controller._cluster = after.controller._actor._cluster = before.cluster
        before.cluster.calls.clear()
        await after.controller.resync()
        await after.look()

        assert not [call for call in before.cluster.calls if call.startswith("make")]
        assert after.masters.followed["uid-checkout"].address == "10.0.0.1:8650"
        assert after.status()["phase"] == "Running"

    run(story())


def test_a_crash_between_pods_and_status_is_made_good() -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout"))
        key = Key("shop", "checkout")
        operator.cluster.tests[key] = {**operator.cluster.tests[key], "status": {}}
        operator.cluster.put("checkout")
        fresh = Operator()
        fresh.cluster = operator.cluster
        fresh.controller._cluster = fresh.controller._actor._cluster = operator.cluster
        await fresh.controller.resync()
        await fresh.look()

        assert fresh.status()["run"]["number"] == 1
        assert len(operator.cluster.pods) == 3

    run(story())


def test_a_trigger_writes_its_run_first_and_clears_the_old_pods() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        operator.cluster.calls.clear()
        await operator.hear(operator.cluster.put("checkout", generation=2, trigger="again"))
        assert operator.cluster.calls == ["status Pending"]
        assert operator.status()["lastHandledTrigger"] == "again"
        assert operator.status()["finished"] is False
        await operator.look()
        await operator.look()

        assert {name.split("-")[2] for name in operator.cluster.pods} == {"2"}
        assert operator.status()["run"]["number"] == 2

    run(story())


def test_a_config_map_is_waited_for_and_then_missed() -> None:
    async def story() -> None:
        operator = Operator()
        source = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
        assert await operator.hear(operator.cluster.put("checkout", source=source)) == 1.0
        assert operator.status()["reason"] == "SourceNotFound"
        operator.clock.advance(6 * SECOND)
        await operator.look()
        operator.clock.advance(6 * SECOND)
        await operator.look()

        assert (operator.status()["verdict"], operator.status()["reason"]) == ("Error", "SourceNotFound")
        assert "run" not in operator.status()
        assert operator.cluster.pods == {}

    run(story())


def test_a_config_map_that_comes_a_moment_later_is_taken() -> None:
    async def story() -> None:
        operator = Operator()
        source = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
        await operator.hear(operator.cluster.put("checkout", source=source))
        operator.cluster.config_maps["scripts"] = {"data": {"shop.py": "pass"}}
        operator.clock.advance(2 * SECOND)
        await operator.look()

        assert operator.status()["phase"] == "Provisioning"

    run(story())


def test_a_refused_creation_is_told_and_tried_again_without_a_loop() -> None:
    async def story() -> None:
        operator = Operator()
        operator.cluster.refusal = CreationProblem(Reason.QUOTA_EXCEEDED, "quota small", is_fatal=False)
        assert await operator.hear(operator.cluster.put("checkout")) == 1.0
        assert (operator.status()["phase"], operator.status()["reason"]) == ("Pending", "QuotaExceeded")
        makes = len(operator.cluster.calls)
        await operator.look()
        operator.clock.advance(3 * SECOND)
        operator.cluster.refusal = None
        await operator.look()

        assert operator.status()["phase"] == "Provisioning"
        assert makes <= 4

    run(story())


def test_a_worker_that_ended_is_told_to_the_master_even_when_its_pod_is_gone() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        terminated = {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
        operator.pod("checkout-w-1-1-1", phase="Failed", containerStatuses=[terminated])
        operator.controller.heard_pod("DELETED", operator.cluster.pods.pop("checkout-w-1-1-1"))
        await operator.look()

        (end,) = operator.masters.wishes["uid-checkout"].ended
        assert (end.worker, end.reason, end.exit_code) == (1, "OOMKilled", 137)

    run(story())


def test_an_engine_that_ended_is_not_told_before_its_agent_has_had_its_say() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        terminated = {"state": {"terminated": {"reason": "Error", "exitCode": 143}}}
        operator.pod("checkout-w-1-1-1", phase="Running", containerStatuses=[terminated])
        await operator.look()

        assert operator.masters.wishes == {}

    run(story())


def test_two_tests_at_once_never_exceed_the_limit_and_the_second_starts_when_the_first_has_left() -> None:
    async def story() -> None:
        operator = Operator(Limits(total_workers=3))
        await running(operator)
        await operator.hear(operator.cluster.put("second", created="2"))
        assert operator.status("second")["phase"] == "Queued"
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        await operator.look("second")
        assert operator.status("second")["phase"] == "Queued"
        for name in list(operator.cluster.pods):
            operator.pod(name, phase="Succeeded")
        await operator.look()
        assert await asyncio.wait_for(operator.queue.take(), 1) is not None
        await operator.look("second")

        assert operator.status("second")["phase"] == "Provisioning"

    run(story())


def test_the_time_in_the_queue_is_no_part_of_the_time_that_a_start_may_take() -> None:
    async def story() -> None:
        operator = Operator(Limits(total_workers=3))
        await running(operator)
        await operator.hear(operator.cluster.put("second", created="2", startupTimeout="60s"))
        operator.clock.advance(3600 * SECOND)
        await operator.look("second")
        assert operator.status("second")["phase"] == "Queued"
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        for name in list(operator.cluster.pods):
            operator.pod(name, phase="Succeeded")
        await operator.look()
        await operator.look("second")
        for _ in range(5):
            operator.clock.advance(10 * SECOND)
            await operator.look("second")
            assert operator.status("second")["phase"] == "Provisioning"
        operator.clock.advance(20 * SECOND)
        await operator.look("second")
        assert operator.status("second")["reason"] == "StartupTimeout"

    run(story())


def test_a_deleted_test_keeps_its_places_until_its_pods_have_ended() -> None:
    async def story() -> None:
        operator = Operator(Limits(total_workers=3))
        await running(operator)
        await operator.hear(operator.cluster.put("second", created="2"))
        operator.controller.heard_test("DELETED", operator.cluster.tests.pop(Key("shop", "checkout")))
        await operator.look()
        await operator.look("second")
        assert operator.status("second")["phase"] == "Queued"
        for name in list(operator.cluster.pods):
            operator.controller.heard_pod("DELETED", operator.cluster.pods.pop(name))
        while await asyncio.wait_for(operator.queue.take(), 1) != Key("shop", "second"):
            pass
        await operator.look("second")

        assert operator.status("second")["phase"] == "Provisioning"

    run(story())


def test_an_operator_that_comes_back_counts_the_workers_that_still_leave() -> None:
    async def story() -> None:
        before, after = Operator(), Operator(Limits(total_workers=3))
        await running(before)
        before.masters.views["uid-checkout"] = OVER
        await before.look()
        assert before.status()["finished"] is True
        after.cluster = before.cluster
        after.controller._cluster = after.controller._actor._cluster = before.cluster
        before.cluster.put("second", created="2")
        await after.controller.resync()
        await after.look("second")
        assert after.status("second")["phase"] == "Queued"
        after.pod("checkout-w-1-0-1", phase="Succeeded")
        await after.look("second")

        assert after.status("second")["phase"] == "Provisioning"

    run(story())


@pytest.mark.parametrize("lease_seconds", [30, 300])
def test_workers_on_a_node_that_fell_silent_are_waited_for_until_their_lease_is_over_and_no_longer(
    lease_seconds: int,
) -> None:
    async def story() -> None:
        operator = Operator(Limits(total_workers=3))
        await running(operator, transport={"lease": f"{lease_seconds}s"})
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        for name in list(operator.cluster.pods):
            operator.cluster.pods[name]["metadata"]["deletionTimestamp"] = rfc3339(operator.clock.wall_ns())
            operator.pod(name)
        await operator.look()
        await operator.hear(operator.cluster.put("second", created="2"))
        operator.clock.advance((lease_seconds + 29) * SECOND)
        await operator.look("second")
        assert operator.status("second")["phase"] == "Queued"
        operator.clock.advance(3 * SECOND)
        await operator.look("second")

        assert operator.status("second")["phase"] == "Provisioning"

    run(story())


def test_figures_are_written_every_two_seconds_and_the_verdict_at_once() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        operator.cluster.calls.clear()
        view = operator.masters.views["uid-checkout"]
        operator.masters.views["uid-checkout"] = replace(view, progress={"users": 4})
        assert await operator.look() == pytest.approx(1.5)
        assert operator.cluster.calls == []
        operator.clock.advance(2 * SECOND)
        await operator.look()
        assert operator.status()["progress"] == {"users": 4}
        operator.masters.views["uid-checkout"] = OVER
        await operator.look()
        assert operator.status()["finished"] is True

    run(story())


@given(st.integers(0, 10_000))
def test_all_statuses_together_are_written_for_figures_about_once_a_second(runs: int) -> None:
    seconds = progress_seconds(runs)

    assert max(2, runs) / 2 < seconds <= max(2, runs)
    assert progress_seconds(runs + 1) in {seconds, 2 * seconds}


def test_a_status_that_was_decided_on_old_news_is_not_written() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        operator.cluster.put("checkout", generation=2, load={"users": 9, "duration": "5s"})
        operator.masters.views["uid-checkout"] = OVER
        with pytest.raises(StatusConflict):
            await operator.look()
        assert operator.status().get("verdict") is None
        await operator.controller._refresh(Key("shop", "checkout"))
        await operator.look()
        assert operator.status()["verdict"] == "Passed"

    run(story())


def test_pods_whose_loadtest_is_gone_are_deleted() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        del operator.cluster.tests[Key("shop", "checkout")]
        for pod in operator.cluster.pods.values():
            pod["metadata"].pop("ownerReferences")
        await operator.controller.resync()

        assert operator.cluster.pods == {}
        assert operator.store.all() == ()

    run(story())


def test_a_deleted_loadtest_is_forgotten_and_its_master_left() -> None:
    async def story() -> None:
        operator = Operator()
        await running(operator)
        body = operator.cluster.tests.pop(Key("shop", "checkout"))
        operator.controller.heard_test("DELETED", body)
        assert await operator.look() is None

        assert operator.masters.followed == {}

    run(story())


def test_the_loop_looks_at_what_was_heard_and_tries_again_what_failed() -> None:
    async def story() -> None:
        operator = Operator()
        whole = operator.cluster.make_children
        failures = iter([RuntimeError("a fault of ours")])

        async def fail_once(order: Any, workers: int) -> list[dict[str, Any]]:
            for failure in failures:
                raise failure
            return await whole(order, workers)

        operator.cluster.make_children = fail_once  # type: ignore[method-assign]
        task = asyncio.create_task(operator.controller.run())
        operator.controller.heard_test(None, operator.cluster.put("checkout"))
        await asyncio.wait_for(operator.cluster.written.wait(), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert operator.controller.is_primed
        assert len(operator.cluster.pods) == 3

    run(story())


@pytest.mark.promise("mutual-tls")
@pytest.mark.parametrize(
    ("began", "edited", "authority"),
    [("Mutual", "Mutual", "authority-1"), ("Mutual", "Disabled", "authority-1"), ("Disabled", "Mutual", None)],
)
def test_who_takes_a_lost_workers_place_shows_what_the_run_began_with(
    began: str, edited: str, authority: str | None
) -> None:
    async def story() -> None:
        operator = Operator()
        await operator.hear(operator.cluster.put("checkout", transport={"tls": began}))
        body = operator.cluster.put("checkout", generation=2, transport={"tls": edited})
        operator.store.see_test(body)
        look = operator.looker.look(Key("shop", "checkout"), body)
        await operator.actor.act(look, [CreateWorkers(run=1, epoch=1, workers=((1, 2),))])

        assert "checkout-w-1-1-2" in operator.cluster.pods
        labels = [pod["metadata"]["labels"] for pod in operator.cluster.pods.values()]
        assert {each.get(naming.LABEL_AUTHORITY) for each in labels} == {authority}

    run(story())


# Workers that come and go while a run goes on

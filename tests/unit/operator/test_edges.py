"""What the edges remember, judge and read, without the world at their other end."""

import asyncio
import contextlib
import itertools
import json
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest

from loadstone_core.clock import ManualClock
from loadstone_core.verdict.outcome import Verdict
from loadstone_operator import naming
from loadstone_operator.cluster.api import PODS, RULES_REVIEWS
from loadstone_operator.cluster.credentials import Credentials, NoCredentials, read_credentials
from loadstone_operator.cluster.errors import Conflict, NotFound, Unreachable
from loadstone_operator.cluster.lease import DURATION_SECONDS, RENEW_SECONDS, RETRY_SECONDS, Lease
from loadstone_operator.cluster.rights import NEEDED, lacking
from loadstone_operator.cluster.store import Store
from loadstone_operator.control.reports import STEERING_MOST_BYTES, ReportInvalid, read_report, write_steering
from loadstone_operator.observation import Stage
from loadstone_operator.ports import Key
from loadstone_operator.settings import SettingsError, read_settings
from loadstone_operator.telemetry.health import WatchProgress
from loadstone_operator.telemetry.logs import JsonFormatter
from loadstone_operator.wishes import Steer, WorkerEnd
from loadstone_operator.workqueue import WorkQueue
from loadstone_protocol.coordination import steering_from_message
from loadstone_protocol.v1 import control_pb2 as wire

SECOND = 10**9
KEY = Key("shop", "checkout")


# The lease


class MemoryLeases:
    """The API server's end of one Lease, with resource versions."""

    def __init__(self) -> None:
        self.held: dict[str, Any] | None = None
        self.versions = itertools.count(1)
        self.is_away = False

    async def get(self, *_: Any) -> dict[str, Any]:
        self._answer()
        if self.held is None:
            raise NotFound(404, "no lease")
        return json.loads(json.dumps(self.held))

    async def create(self, _kind: Any, _namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        return self._keep(body)

    async def replace(self, _kind: Any, _namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self._answer()
        assert self.held is not None
        if body["metadata"]["resourceVersion"] != self.held["metadata"]["resourceVersion"]:
            raise Conflict(409, "changed")
        return self._keep(body)

    def _answer(self) -> None:
        if self.is_away:
            raise Unreachable(0, "away")

    def _keep(self, body: dict[str, Any]) -> dict[str, Any]:
        self.held = json.loads(json.dumps(body))
        self.held["metadata"]["resourceVersion"] = str(next(self.versions))
        return json.loads(json.dumps(self.held))


def lease(api: MemoryLeases, clock: ManualClock, identity: str) -> Lease:
    return Lease(api, clock, namespace="ops", name="loadstone", identity=identity)  # type: ignore[arg-type]


async def step(held: Lease) -> bool:
    with contextlib.suppress(Conflict, Unreachable):
        await held._step()
    return held.is_held


def test_one_of_two_holds_the_lease_and_the_other_takes_over_within_its_duration() -> None:
    async def story() -> None:
        api, clock = MemoryLeases(), ManualClock()
        first, second = lease(api, clock, "first"), lease(api, clock, "second")
        assert await step(first)
        assert not await step(second)
        for _ in range(3):
            clock.advance(SECOND)
            assert await step(first)
            assert not await step(second)
        taken = 0
        while not await step(second):
            clock.advance(SECOND)
            taken += 1
        assert taken <= DURATION_SECONDS
        assert not first.is_held

    asyncio.run(story())


def test_a_holder_without_an_answer_stops_before_another_may_begin() -> None:
    async def story() -> None:
        api, clock = MemoryLeases(), ManualClock()
        first, second = lease(api, clock, "first"), lease(api, clock, "second")
        assert await step(first)
        assert not await step(second)
        for _ in range(DURATION_SECONDS):
            clock.advance(SECOND)
            assert not (first.is_held and await step(second))

    asyncio.run(story())


def test_a_released_lease_is_free_at_once_and_a_restarted_container_is_the_same_holder() -> None:
    async def story() -> None:
        api, clock = MemoryLeases(), ManualClock()
        first = lease(api, clock, "pod")
        assert await step(first)
        assert await step(lease(api, clock, "pod"))
        await step(first)
        clock.advance(SECOND)
        await step(first)
        await first.release()
        assert not first.is_held
        assert await step(lease(api, clock, "another"))

    asyncio.run(story())


def test_a_lease_is_renewed_in_time_for_another_attempt_and_tried_for_at_the_moment_when_anothers_ends() -> None:
    async def story() -> None:
        api, clock = MemoryLeases(), ManualClock()
        first, second = lease(api, clock, "first"), lease(api, clock, "second")
        assert await step(first)
        assert first._pause_seconds(is_answered=True) == RENEW_SECONDS
        assert RENEW_SECONDS + RETRY_SECONDS < DURATION_SECONDS
        assert first._pause_seconds(is_answered=False) == RETRY_SECONDS
        assert not await step(second)
        assert second._pause_seconds(is_answered=True) == RENEW_SECONDS
        clock.advance((DURATION_SECONDS - 1) * SECOND)
        assert not await step(second)
        assert second._pause_seconds(is_answered=True) == 1.0
        clock.advance(SECOND)
        assert await step(second)

    asyncio.run(story())


def test_who_met_a_lease_that_had_run_out_goes_on_after_a_renewal_that_was_slow() -> None:
    async def story() -> None:
        clock = ManualClock()
        waiting: list[asyncio.Task[None]] = []

        class SlowLeases(MemoryLeases):
            async def replace(self, *arguments: Any) -> dict[str, Any]:
                clock.advance(2 * SECOND)
                assert not held.is_held
                waiting.append(asyncio.create_task(held.wait_until_held()))
                await asyncio.sleep(0)
                return await super().replace(*arguments)

        held = lease(SlowLeases(), clock, "pod")
        await held._attempt()
        assert held.is_held
        clock.advance((DURATION_SECONDS - 1) * SECOND)
        assert await held._attempt() == RENEW_SECONDS
        assert held.is_held
        await asyncio.wait_for(waiting[0], 5)

    asyncio.run(story())


def test_a_wait_ends_with_the_lease_or_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        api, clock = MemoryLeases(), ManualClock()
        held, slept = lease(api, clock, "pod"), []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            clock.advance(int(seconds * SECOND))

        monkeypatch.setattr(asyncio, "sleep", sleep)
        await held.wait_while_held(60.0)
        assert slept == []
        assert await step(held)
        await held.wait_while_held(2.0)
        assert held.is_held
        await held.wait_while_held(60.0)
        assert not held.is_held
        assert slept == [2.0, DURATION_SECONDS - 2.0]

    asyncio.run(story())


# The work queue


def test_a_key_is_with_one_worker_at_a_time_and_comes_again_when_it_was_added_meanwhile() -> None:
    async def story() -> None:
        queue = WorkQueue()
        queue.add(KEY)
        queue.add(KEY)
        assert await queue.take() == KEY
        queue.add(KEY)
        assert len(queue) == 0
        queue.done(KEY)
        assert await queue.take() == KEY
        queue.done(KEY)
        assert len(queue) == 0

    asyncio.run(story())


def test_the_earliest_appointment_counts_and_news_cancels_it() -> None:
    async def story() -> None:
        queue = WorkQueue()
        queue.add_later(KEY, 60)
        queue.add_later(KEY, 0)
        queue.add_later(KEY, 60)
        assert await asyncio.wait_for(queue.take(), 1) == KEY
        queue.done(KEY)
        queue.add_later(KEY, 60)
        queue.add(KEY)
        assert await queue.take() == KEY
        assert queue._later == {}

    asyncio.run(story())


# The store


def body(version: str, *, uid: str = "u", **metadata: Any) -> dict[str, Any]:
    told = {"name": "checkout", "namespace": "shop", "uid": uid, "resourceVersion": version, **metadata}
    return {"metadata": told, "spec": {}, "status": {}}


def test_an_old_event_does_not_undo_a_newer_state() -> None:
    store = Store()
    store.see_test(body("10", generation=2))
    store.see_test(body("9", generation=1))

    held = store.test(KEY)
    assert held is not None
    assert held["metadata"]["generation"] == 2


def test_a_successor_of_the_name_replaces_its_predecessor_whatever_its_version() -> None:
    store = Store()
    store.see_test(body("10", uid="old"))
    store.see_test(body("9", uid="new"))
    store.lose_test(KEY, "old")

    assert store.key_of_uid("new") == KEY
    assert store.key_of_uid("old") is None


def test_what_a_list_no_longer_shows_is_lost_unless_it_came_after_the_list_was_asked_for() -> None:
    store = Store()
    store.see_test(body("1"))
    known = store.snapshot()
    store.see_test(body("2", uid="late", name="late"))

    assert KEY in store.settle(known, [], [])
    assert store.test(KEY) is None
    assert store.key_of_uid("late") is not None


def test_what_only_fills_memory_is_not_kept() -> None:
    store = Store()
    heavy = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000, naming.ANNOTATION_LAST_RUN: "mark"}
    store.see_test(body("1", managedFields=[{}], annotations=heavy))

    held = store.test(KEY)
    assert held is not None
    assert "managedFields" not in held["metadata"]
    assert held["metadata"]["annotations"] == {naming.ANNOTATION_LAST_RUN: "mark"}


# Reports and wishes on the wire


def test_a_report_is_read_whole() -> None:
    report = wire.RunReport(
        stage=wire.FINISHED,
        workers=[wire.WorkerReport(worker=1, attempt=1, state=wire.WorkerReport.LOST, pod="p", reason="Silent")],
        progress=wire.Progress(percent=120, elapsed_ns=3 * SECOND, users=5, requests=10, failures=1, p95_ns=2_500_000),
        findings=["WorkersLost: one"],
        outcome=wire.RunOutcome(
            verdict="Failed",
            reason="ThresholdsFailed",
            exit_code=99,
            results_json=b'{"requests": 10}',
            report_sha256=b"x",
        ),
    )
    view = read_report(report)

    assert (view.stage, view.workers[0].state, view.findings) == (Stage.FINISHED, "Lost", ("WorkersLost: one",))
    assert view.progress is not None
    assert (view.progress["percent"], view.progress["p95Micros"]) == (100, 2500)
    assert view.summary is not None
    assert (view.summary["errorRate"], view.summary["p95"]) == ("10.00%", "2.50ms")
    assert view.outcome is not None
    assert (view.outcome.verdict, view.outcome.exit_code, view.outcome.has_report) == (Verdict.FAILED, 99, True)
    assert view.outcome.results == {"requests": 10}


@pytest.mark.parametrize(
    "report",
    [
        wire.RunReport(),
        wire.RunReport(stage=wire.FINISHED, outcome=wire.RunOutcome(verdict="Great")),
        wire.RunReport(stage=wire.FINISHED, outcome=wire.RunOutcome(verdict="Passed", results_json=b"[]")),
        wire.RunReport(stage=wire.ARMED, thresholds_json=b"{"),
    ],
)
def test_a_report_that_breaks_the_protocol_is_refused(report: wire.RunReport) -> None:
    with pytest.raises(ReportInvalid):
        read_report(report)


def test_a_wish_is_written_whole() -> None:
    wish = Steer(1, "Stopped", (WorkerEnd(2, 1, "OOMKilled", "m", 137),))
    steering = write_steering(wish, run_uid="u/1", epoch=1, revision=7)

    assert (steering.stop, steering.stop_reason, steering.revision, steering.run_uid) == (True, "Stopped", 7, "u/1")
    assert (steering.ended[0].worker, steering.ended[0].exit_code) == (2, 137)
    assert steering.workers == 0
    assert write_steering(Steer(1, "", (), workers=7), run_uid="u/1", epoch=1, revision=8).workers == 7


@pytest.mark.parametrize("said", ["x" * 512, "п" * 512, "€" * 512, "😀" * 512])
def test_a_wish_fits_into_a_message_however_much_thousands_of_lost_attempts_have_said(said: str) -> None:
    ended = tuple(WorkerEnd(each, 1, "TerminationByKubelet", f"{said}{each:05}", 137) for each in range(20_000))
    few = tuple(WorkerEnd(each, 1, "Error", f"{said}{each:05}", 137) for each in range(1_000))
    steering = write_steering(Steer(1, "Stopped", ended), run_uid="u/1", epoch=1, revision=7)

    assert STEERING_MOST_BYTES // 3 < steering.ByteSize() <= STEERING_MOST_BYTES
    taken = steering_from_message(wire.Steering.FromString(steering.SerializeToString()))
    assert taken.stop_reason == "Stopped"
    assert [(each.worker, each.exit_code) for each in taken.ended] == [(each, 137) for each in range(20_000)]
    # The end of it is what says most, and no character is cut through.
    assert all(f"{said}{each.worker:05}".endswith(each.message) and len(each.message) > 20 for each in taken.ended)
    whole = write_steering(Steer(1, "", few), run_uid="u/1", epoch=1, revision=8)
    assert [each.message for each in whole.ended] == [each.message for each in few]


def test_each_state_of_a_worker_has_a_name() -> None:
    states = [number for name, number in wire.WorkerReport.State.items() if name != "STATE_UNSPECIFIED"]
    report = wire.RunReport(stage=wire.GATHERING, workers=[wire.WorkerReport(state=each) for each in states])
    told = [each.state for each in read_report(report).workers]

    assert len(set(told)) == len(states)
    assert told[-1] == "Retired"


# Settings, credentials, rights


TOLD = {"LOADSTONE_NAMESPACE": "ops", "LOADSTONE_POD_NAME": "pod", "LOADSTONE_RUNNER_IMAGE": "r:1"}


@pytest.mark.parametrize(
    "change",
    [
        {"LOADSTONE_NAMESPACE": ""},
        {"LOADSTONE_RUNNER_IMAGE": ""},
        {"LOADSTONE_LIMIT_USERS": "many"},
        {"LOADSTONE_LOG_LEVEL": "LOUD"},
        {"LOADSTONE_ENGINE_RESOURCES": "[1]"},
        {"LOADSTONE_ENGINE_RESOURCES": "{"},
        {"LOADSTONE_NETWORK_POLICY": '{"operator": []}'},
        {"LOADSTONE_NETWORK_POLICY": '{"operator": [], "metrics": {}}'},
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(change))):
        read_settings({**TOLD, **change})


def test_the_namespaces_are_read_from_a_list_with_commas() -> None:
    assert read_settings({**TOLD, "LOADSTONE_WATCH_NAMESPACES": " b,a, ,a"}).watch_namespaces == ("a", "b")


def test_a_service_account_is_read_afresh_each_time(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    with pytest.raises(NoCredentials):
        read_credentials(environment, account=tmp_path)
    (tmp_path / "token").write_text("one\n")
    assert read_credentials(environment, account=tmp_path) == Credentials("https://[fd00::1]:6443", "one")
    (tmp_path / "token").write_text("two\n")
    assert read_credentials(environment, account=tmp_path).token == "two"


def test_a_kubeconfig_is_read_with_its_current_context(tmp_path: Path) -> None:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api/", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "ca.pem").write_text("PEM")
    path = tmp_path / "config"
    path.write_text(json.dumps(config))

    assert read_credentials({"KUBECONFIG": str(path)}) == Credentials("https://api", "t", "PEM")
    path.write_text("{}")
    with pytest.raises(NoCredentials, match="config"):
        read_credentials({"KUBECONFIG": str(path)})


def test_an_insecure_context_checks_nothing_and_a_secure_one_everything() -> None:
    assert Credentials("https://api", insecure=True).ssl_context().verify_mode is ssl.CERT_NONE
    assert Credentials("https://api").ssl_context().verify_mode is ssl.CERT_REQUIRED


def test_every_missing_right_is_named() -> None:
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
        for (group, resource), verbs in NEEDED.items()
    ]
    assert lacking(rules) == []
    assert lacking([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]) == []
    assert lacking([rule for rule in rules if rule["resources"] != ["secrets"]]) == ["create secrets"]
    assert "delete pods" in lacking([{**rule, "resourceNames": ["one"]} for rule in rules])


def test_paths_are_those_of_the_kubernetes_api() -> None:
    assert PODS.path("shop", "a") == "/api/v1/namespaces/shop/pods/a"
    assert PODS.path(None) == "/api/v1/pods"
    assert RULES_REVIEWS.path(None) == "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


# Health and logs


def test_a_watch_that_does_not_deliver_what_a_list_shows_falls_behind() -> None:
    clock = ManualClock()
    progress = WatchProgress(clock)
    progress.watched("a", "5")
    progress.listed([("a", "5")])
    clock.advance(1000 * SECOND)
    assert progress.seconds_behind() == 0.0

    progress.listed([("a", "6"), ("b", "7")])
    clock.advance(100 * SECOND)
    progress.listed([("a", "8"), ("b", "7")])
    assert progress.seconds_behind() == 100.0
    progress.watched("a", "6")
    progress.vanished("b")
    assert progress.seconds_behind() == 0.0


def test_an_idle_watch_is_not_behind() -> None:
    clock = ManualClock()
    progress = WatchProgress(clock)
    progress.listed([])
    clock.advance(10**6 * SECOND)

    assert progress.seconds_behind() == 0.0


def test_a_log_line_is_json_with_its_fields() -> None:
    record = logging.LogRecord("loadstone", logging.INFO, "f", 1, "Created Pod", (), None)
    record.pod, record.body = "a", {"secret": "no"}
    line = json.loads(JsonFormatter().format(record))

    assert (line["message"], line["level"], line["pod"]) == ("Created Pod", "info", "a")
    assert "body" not in line

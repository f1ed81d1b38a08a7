"""What happens to the operator itself: its token is refused, or another one takes its place. No load is touched."""

import json
import time

import pytest
from lab import OPERATOR_NAMESPACE, is_untouched, kubectl, until
from machine import cluster, needs_own_cluster, number_of, operators

promise = pytest.mark.promise

LEASE = "loadstone"


def lease() -> dict:
    return json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "lease", LEASE, "-o", "json").stdout)["spec"]


def is_ready(pod: str) -> bool:
    status = json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "pod", pod, "-o", "json").stdout)["status"]
    return {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"


def renew_account() -> None:
    """Delete the operator's ServiceAccount and make it again: no token of the old one is taken any more."""
    (operator,) = operators()
    name = operator["spec"]["serviceAccountName"]
    account = json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "serviceaccount", name, "-o", "json").stdout)
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        del account["metadata"][field]
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "serviceaccount", name)
    kubectl("create", "-f", "-", stdin=json.dumps(account))


@pytest.mark.timeout(240)
@promise("operator-restart", "exact-totals")
def test_an_operator_whose_token_is_refused_goes_on_by_itself_once_it_has_a_fresh_one(lab) -> None:
    needs_own_cluster()
    (operator,) = operators()
    name = operator["metadata"]["name"]
    lab.apply(lab.manifest("pass", load__duration="12s"))
    lab.wait_phase("pass", "Running")
    pods = {pod["metadata"]["uid"] for pod in lab.pods("pass")}
    renew_account()
    cluster("api-restart")
    until("the operator is not ready", lambda: not is_ready(name), seconds=40)
    refused = kubectl("-n", OPERATOR_NAMESPACE, "logs", name, "--since=60s").stdout
    # Its watches and its own client alike are refused for so long that a login which gives up would have given up.
    until("load is over", lab.is_quiet, seconds=40)

    assert "Unauthorized" in refused, refused
    assert not lab.status("pass").get("finished")
    cluster("kubelet-restart", number_of(operator["spec"]["nodeName"]))
    fresh_at = time.monotonic()
    status = lab.wait_finished("pass", seconds=90)
    print(f"went on {time.monotonic() - fresh_at:.1f} s after the kubelet was started anew")

    assert is_untouched(status), status
    assert status["results"]["requests"] == lab.count()
    assert {pod["metadata"]["uid"] for pod in lab.pods("pass")} == pods
    until("the operator is ready", lambda: is_ready(name), seconds=30)
    (now,) = operators()
    assert now["metadata"]["uid"] == operator["metadata"]["uid"]
    assert [each["restartCount"] for each in now["status"]["containerStatuses"]] == [
        each["restartCount"] for each in operator["status"]["containerStatuses"]
    ]
    # Its watches are back, too: nothing but them tells of a new LoadTest so soon.
    second = lab.manifest("iterations")
    applied_at = time.monotonic()
    lab.apply(second)
    lab.wait_phase("iterations", "Provisioning", "Armed", "Running", "Stopping", "Finished", seconds=15)
    print(f"handled a new LoadTest after {time.monotonic() - applied_at:.1f} s")


@pytest.fixture
def two_operators():
    """Run a second operator, which waits for the first one's lease."""
    needs_own_cluster()
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=2")
    yield
    for pod in operators():
        cluster("pod-signal", "CONT", OPERATOR_NAMESPACE, pod["metadata"]["name"])
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=1")
    until("one operator is left", lambda: len(operators()) == 1, seconds=40)
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")


def is_running(pod: dict) -> bool:
    containers = pod["status"].get("containerStatuses", [])
    return bool(containers) and all("running" in each["state"] for each in containers)


@promise("operator-restart", "exact-totals")
def test_another_operator_takes_the_lease_of_a_silent_one_and_keeps_it(two_operators, lab) -> None:
    until("two operators run", lambda: sum(map(is_running, operators())) == 2, seconds=40)
    lab.apply(lab.manifest("pass", load__duration="15s"))
    lab.wait_phase("pass", "Running")
    before = lease()
    silent = before["holderIdentity"]
    cluster("pod-signal", "STOP", OPERATOR_NAMESPACE, silent)
    silent_at = time.monotonic()
    until("the lease is taken", lambda: lease()["holderIdentity"] != silent, seconds=15)
    print(f"operator_takeover {time.monotonic() - silent_at:.1f} s")
    taken = lease()
    document = lab.manifest("iterations")
    lab.apply(document)
    lab.wait_phase("iterations", "Provisioning", "Armed", "Running", "Stopping", "Finished", seconds=15)
    print(f"operator_takeover_handled {time.monotonic() - silent_at:.1f} s")
    cluster("pod-signal", "CONT", OPERATOR_NAMESPACE, silent)
    statuses = [lab.wait_finished(name) for name in ("pass", "iterations")]

    assert [is_untouched(status) for status in statuses] == [True, True], statuses
    assert sum(status["results"]["requests"] for status in statuses) == lab.count()
    # The one that is back has stood down.
    now = lease()
    assert (now["holderIdentity"], now["leaseTransitions"]) == (taken["holderIdentity"], before["leaseTransitions"] + 1)


def restart_operator() -> None:
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/component=operator", "--wait=false")


@promise("operator-restart", "exact-totals")
def test_a_restart_of_the_operator_changes_nothing(lab) -> None:
    lab.start()
    before = {pod["metadata"]["uid"] for pod in lab.pods("pass")}
    restart_operator()
    status = lab.wait_finished("pass")

    assert is_untouched(status), status
    assert status["run"]["number"] == 1
    assert {pod["metadata"]["uid"] for pod in lab.pods("pass")} == before
    assert status["results"]["requests"] == lab.count()


@promise("operator-restart")
def test_a_run_that_ended_while_the_operator_was_away_gets_its_verdict(lab) -> None:
    lab.start(duration="4s")
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=0")
    try:
        until("load is over", lab.is_quiet, seconds=40)
    finally:
        kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=1")
    status = lab.wait_finished("pass")

    assert is_untouched(status), status
    assert status["results"]["requests"] == lab.count()


@promise("delete-cleans")
def test_a_delete_without_an_operator_leaves_nothing(lab) -> None:
    lab.start(duration="2m")
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=0")
    try:
        lab.kubectl("delete", "loadtest", "pass", "--wait=true")
        until("no child is left", lambda: lab.children("pass") == [], seconds=30)
    finally:
        kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=1")
        kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")


@promise("operator-restart")
def test_a_killed_operator_is_replaced_and_acts_again(lab) -> None:
    pods = json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    before = [pod["metadata"]["name"] for pod in pods]
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", *before, "--force", "--grace-period=0")
    lab.apply(lab.manifest("pass", load__duration="2s"))
    status = lab.wait_finished("pass")

    assert is_untouched(status), status
    assert status["results"]["requests"] == lab.count()


@pytest.mark.telling
@promise("operator-restart", "run-rate", "exact-totals")
def test_a_load_does_not_change_when_its_operator_is_killed(lab) -> None:
    lab.apply(lab.manifest("rate", load__duration="12s", load__rate=100, thresholds=[]))
    lab.wait_phase("rate", "Running")
    lab.wait_requests("rate", 200)
    pods = json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "pods", "-o", "json").stdout)["items"]
    names = [pod["metadata"]["name"] for pod in pods]
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", *names, "--force", "--grace-period=0", "--wait=false")
    status = lab.wait_finished("rate")

    load, results = status["load"], status["results"]
    change_percent = 100 * (load["achieved"] - load["planned"]) / load["planned"]
    print(f"operator_killed_load_change {change_percent:.2f} %, dropped {results['droppedIterations']}")
    assert load["planned"] == 1200
    # The operator's pod starts on the same machine: iterations that were late for that are counted as dropped.
    assert results["iterations"] + results["droppedIterations"] == 1200, status
    assert results["iterations"] >= 1200 * 0.98
    assert results["requests"] == lab.count() == results["iterations"]
    assert status["run"]["number"] == 1

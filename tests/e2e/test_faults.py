"""What breaks in mid-run is said, and nothing that is left runs on."""

import re
import time
from datetime import UTC, datetime

import pytest
from lab import until
from machine import cluster, needs_own_cluster

promise = pytest.mark.promise

REMOVED_WITHIN_SECONDS = 30  # as promised, and the grace of a master's pod
SLACK_SECONDS = 10  # that grace begins a moment after the delete, and the machine may do other things, too


@promise("worker-lost", "exact-totals")
def test_a_deleted_worker_whose_load_does_not_move_is_reported_and_the_run_ends_honestly(lab) -> None:
    lab.start(workers__onLoss="Continue")
    lab.kubectl("delete", "pod", "pass-w-1-1-1", "--wait=false")
    status = lab.wait_finished("pass")

    assert (status["verdict"], status["reason"]) in {("Error", "WorkersLost"), ("Inconclusive", "LoadNotReached")}, (
        status
    )
    assert status["workers"]["lost"] == 1
    assert [problem["pod"] for problem in status["workers"]["problems"]] == ["pass-w-1-1-1"]
    lab.check_exact(status)


@promise("worker-lost", "kill-bounds")
def test_after_the_kill_of_an_engine_the_counts_hold_their_bounds(lab) -> None:
    lab.start(source__inline__content=KILLS_ITSELF)
    status = lab.wait_finished("pass")

    assert status["verdict"] == "Error", status
    results, counted = status["results"], lab.count()
    assert (
        results["requests"] - results["unsent"] - results["ambiguous"]
        <= counted
        <= results["started"] - results["unsent"]
    ), (
        results,
        counted,
    )
    assert status["workers"]["lost"] >= 1


KILLS_ITSELF = """
import os, signal, time
from loadstone import User, task

STARTED = []

class Visitor(User):
    @task
    def front_page(self):
        STARTED.append(time.monotonic())
        self.http.get("/")
        if time.monotonic() - STARTED[0] > 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@promise("master-lost")
def test_a_deleted_master_ends_in_a_clear_verdict_where_no_other_is_wanted(lab) -> None:
    lab.start(duration="2m", master__onLoss="Abort")
    (master,) = lab.pods("pass", "master")
    lab.kubectl("delete", "pod", master["metadata"]["name"], "--force", "--grace-period=0")
    status = lab.wait_finished("pass")

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "MasterLost", 1), status
    seen = lab.count()
    until("load ends", lab.is_quiet, seconds=20)
    until("workers end", lambda: all(is_over(pod) for pod in lab.pods("pass", "worker")), seconds=60)
    assert lab.count() < seen + 5000


@pytest.mark.telling
@promise("master-restart", "exact-totals")
def test_a_master_that_is_killed_is_started_again_and_takes_over(lab) -> None:
    needs_own_cluster()
    lab.start()
    (master,) = lab.pods("pass", "master")
    begun = time.time()
    cluster("pod-signal", "KILL", lab.namespace, master["metadata"]["name"], "master")
    before = lab.count()
    until("load goes on", lambda: lab.count() > before + 50, seconds=10)
    status = lab.wait_finished("pass")

    assert took_over_at(lab) - begun <= 10
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    assert any(finding.startswith("MasterRestarted: ") for finding in status["findings"])
    lab.check_exact(status)


@promise("master-restart", "exact-totals")
@pytest.mark.parametrize("how", [("--force", "--grace-period=0"), ("--wait=false",)], ids=["forced", "evicted"])
def test_a_master_whose_pod_is_deleted_is_replaced_and_the_run_goes_on(lab, how) -> None:
    lab.start()
    (master,) = lab.pods("pass", "master")
    begun = time.time()
    lab.kubectl("delete", "pod", master["metadata"]["name"], *how)
    before = lab.count()
    until("load goes on", lambda: lab.count() > before + 50, seconds=10)
    status = lab.wait_finished("pass")

    assert took_over_at(lab) - begun <= 10
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    assert status["run"]["epoch"] == 2
    assert any(finding.startswith("MasterRestarted: ") for finding in status["findings"])
    assert status["results"]["requests"] == lab.count()


def took_over_at(lab) -> float:
    """Return when the newest master went on with the run, in seconds since 1970, by its own log."""
    newest = max(lab.pods("pass", "master"), key=lambda pod: pod["metadata"]["creationTimestamp"])
    text = lab.kubectl("logs", newest["metadata"]["name"], "-c", "master").stdout
    (stamp,) = re.findall(r"^(\S+ \S+),\d+ INFO Went on with the run", text, re.MULTILINE)
    return datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()


def is_over(pod) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}


@promise("delete-cleans")
@pytest.mark.parametrize("moment", ["at once", "running", "finished"])
def test_a_delete_at_any_moment_leaves_nothing(lab, moment) -> None:
    lab.apply(lab.manifest("pass", load__duration="2s" if moment == "finished" else "2m"))
    if moment == "running":
        lab.wait_phase("pass", "Running")
        lab.wait_requests("pass", 50)
    if moment == "finished":
        lab.wait_finished("pass")
    deleted_at = time.monotonic()
    lab.kubectl("delete", "loadtest", "pass", "--wait=true")

    if moment == "running":
        silent = lab.seconds_to_silence(deleted_at)
        print(f"deleted_last_request {silent:.1f} s")
        # No iteration begins any more, and one of these takes milliseconds. The rest is the garbage collector's.
        assert silent < 10
    # A container whose SIGTERM comes before its interpreter is there does not hear it: it has all of its pod's grace.
    left = deleted_at + REMOVED_WITHIN_SECONDS + SLACK_SECONDS - time.monotonic()
    until("no child is left", lambda: lab.children("pass") == [], seconds=left)
    print(f"deleted_last_child {time.monotonic() - deleted_at:.1f} s")
    assert lab.is_quiet()


@promise("delete-cleans")
def test_children_that_a_delete_has_orphaned_are_removed(lab) -> None:
    lab.start(duration="5m")
    lab.kubectl("delete", "loadtest", "pass", "--cascade=orphan")

    until("no pod is left", lambda: lab.pods("pass") == [], seconds=120)
    counted = lab.count()
    assert lab.is_quiet(), counted

"""Workers that are taken away in mid-run or before: load moves at once, pods are replaced, the totals stay exact."""

import re
import time

import pytest
from lab import Lab, until
from machine import cluster, needs_own_cluster

promise = pytest.mark.promise

LEASE_SECONDS = 10
# Until it is over, the run gathers its workers.
SLOW_SETUP = """
import time
from loadstone import setup

@setup
def prepare(run):
    time.sleep(20)
"""


def start(lab: Lab, kind: str, *, duration: str, workers: int = 3, **changes) -> None:
    document = lab.manifest(kind, load__duration=duration, workers__replicas=workers, load__tolerance="15%", **changes)
    # What is judged is whether the load was done, and not how fast.
    document["spec"].pop("thresholds", None)
    lab.apply(document)
    lab.wait_phase(kind, "Running")
    lab.wait_requests(kind, 50)


def by_pod(lab: Lab) -> dict[str, int]:
    """Return how many requests the target has counted from each address."""
    return {address: each["count"] for address, each in lab.target("/count")["by_client"].items()}


def address_of(lab: Lab, pod: str) -> str:
    return lab.json("pod", pod)["status"]["podIP"]


def taken_over_after(status: dict) -> float:
    """Return how many seconds nobody did the load of the lost worker."""
    said = " ".join(status["findings"])
    found = re.search(r"lost 1 of 3 workers: .*its load was taken over after ([0-9.]+) s", said)
    assert found, said
    print(f"taken over after {found[1]} s")
    return float(found[1])


def events(lab: Lab, name: str) -> dict[str, str]:
    items = lab.json("events", f"--field-selector=involvedObject.name={name}")["items"]
    return {each["reason"]: each["message"] for each in items}


@promise("load-moves", "worker-replaced", "exact-totals")
def test_a_deleted_workers_load_moves_at_once_and_back_to_a_new_pod(lab) -> None:
    start(lab, "rate", duration="20s")
    lab.kubectl("delete", "pod", "rate-w-1-1-1", "--wait=false")
    status = lab.wait_finished("rate")

    # How late engines were is the machine's affair: pods that start beside them take their processors.
    assert status["reason"] in {"Passed", "GeneratorSaturated"}, status
    assert taken_over_after(status) < 10
    workers = status["workers"]
    assert (workers["desired"], workers["lost"], workers["replaced"]) == (3, 0, 1), workers
    assert workers["attempts"] == [{"worker": 1, "attempt": 2}]
    assert "rate-w-1-1-1" in {each["pod"] for each in workers["problems"]}
    assert "attempt 2" in events(lab, "rate")["WorkerReplaced"]
    assert by_pod(lab)[address_of(lab, "rate-w-1-1-2")] > 0
    assert status["results"]["requests"] == status["results"]["started"] == lab.count()
    assert status["load"]["achieved"] <= status["load"]["planned"]


@pytest.mark.telling
@promise("load-moves", "kill-bounds")
def test_a_killed_workers_users_go_on_elsewhere(lab) -> None:
    needs_own_cluster()
    start(lab, "pass", duration="12s", workers__onLoss="Redistribute")
    others = [address_of(lab, f"pass-w-1-{worker}-1") for worker in (0, 2)]
    cluster("pod-signal", "KILL", lab.namespace, "pass-w-1-1-1")
    time.sleep(5)
    before = by_pod(lab)
    time.sleep(2)
    after = by_pod(lab)
    status = lab.wait_finished("pass")

    assert taken_over_after(status) < 10
    assert (status["workers"]["lost"], status["workers"]["replaced"]) == (1, 0)
    # Twenty users that wait for 0.125 s on the average, all of them on two workers.
    assert sum(after[each] - before[each] for each in others) > 160
    results = status["results"]
    # Nobody is left who could say what the killed one did last, or had written.
    assert results["unaccountedAtLeast"] is True
    assert (status["logs"]["complete"], status["logs"].get("missingAtLeast")) == (False, True), status["logs"]
    assert any(each.startswith("LogsIncomplete: ") for each in status["findings"]), status["findings"]
    assert results["requests"] - results["unsent"] - results["ambiguous"] <= lab.count()


@promise("load-moves", "kill-bounds")
def test_a_worker_whose_engine_is_killed_is_counted_within_both_bounds_by_its_agent(lab) -> None:
    needs_own_cluster()
    start(lab, "pass", duration="12s", workers__onLoss="Redistribute")
    cluster("pod-signal", "KILL", lab.namespace, "pass-w-1-1-1", "engine")
    status = lab.wait_finished("pass")

    assert taken_over_after(status) < 10
    results, counted = status["results"], lab.count()
    at_least, at_most = results["requests"] - results["unsent"] - results["ambiguous"], results["started"]
    print(f"engine_killed at_least {at_least} counted {counted} at_most {at_most}")
    assert "unaccountedAtLeast" not in results
    # The launcher, which reads what an engine writes, is in the same container.
    assert (status["logs"]["complete"], status["logs"].get("missingAtLeast")) == (False, True), status["logs"]
    lab.check_exact(status)
    # Ten users of it were in mid-request at most.
    assert at_most - at_least <= 10


@promise("load-moves", "worker-replaced")
@pytest.mark.timeout(150)
def test_a_frozen_worker_is_replaced_after_its_lease_and_makes_no_load_when_it_wakes(lab) -> None:
    needs_own_cluster()
    start(lab, "pass", duration="45s", transport__lease=f"{LEASE_SECONDS}s")
    frozen = address_of(lab, "pass-w-1-1-1")
    cluster("pod-signal", "STOP", lab.namespace, "pass-w-1-1-1")
    time.sleep(LEASE_SECONDS - 2)
    assert lab.status("pass")["workers"]["lost"] == 0
    lab.kubectl("wait", "pod/pass-w-1-1-2", "--for=create", "--timeout=25s")
    lab.kubectl("wait", "pod/pass-w-1-1-2", "--for=condition=Ready", "--timeout=25s")
    before = by_pod(lab)[frozen]
    cluster("pod-signal", "CONT", lab.namespace, "pass-w-1-1-1")
    time.sleep(4)
    sent = by_pod(lab)[frozen] - before
    status = lab.wait_finished("pass")

    # Of whoever had its turn when it was frozen, a request may be under way.
    assert sent <= 2
    # It has woken and ended by then, or 26 s have passed since it was heard last; the rest is for a busy machine.
    assert LEASE_SECONDS <= taken_over_after(status) < 40
    assert (status["workers"]["lost"], status["workers"]["replaced"]) == (0, 1), status["workers"]
    assert status["load"]["achieved"] <= status["load"]["planned"]
    results = status["results"]
    assert results["requests"] - results["unsent"] - results["ambiguous"] <= lab.count()
    # If it woke before its successor had come, it has said what it did last.
    if not results.get("unaccountedAtLeast"):
        lab.check_exact(status)


@promise("early-loss", "worker-replaced", "exact-totals")
@pytest.mark.parametrize("on_loss", ["Replace", "Redistribute"])
def test_a_worker_that_is_deleted_before_the_load_begins_is_replaced_and_waited_for(lab, on_loss) -> None:
    document = lab.manifest("rate", load__duration="6s", load__tolerance="15%", workers__onLoss=on_loss)
    document["spec"].pop("thresholds")
    document["spec"]["source"]["inline"]["content"] += SLOW_SETUP
    lab.apply(document)
    until("both workers", lambda: lab.status("rate").get("workers", {}).get("connected") == 2, seconds=40)
    lab.kubectl("delete", "pod", "rate-w-1-1-1", "--wait=false")
    told = until(
        "the loss in the status", lambda: "is being replaced" in (said := lab.status("rate"))["message"] and said
    )
    assert (told["phase"], told["reason"]) == ("Provisioning", "WorkersLost"), told
    assert told["message"].startswith("Worker 1 was lost: ")
    assert told["message"].endswith("It is being replaced (attempt 2).")
    lab.kubectl("wait", "pod/rate-w-1-1-2", "--for=condition=Ready", "--timeout=25s")
    assert lab.count() == 0, "the load began before"
    status = lab.wait_finished("rate")

    assert status["reason"] in {"Passed", "GeneratorSaturated"}, status
    workers = status["workers"]
    assert (workers["desired"], workers["lost"], workers["replaced"]) == (2, 0, 1), workers
    assert workers["attempts"] == [{"worker": 1, "attempt": 2}]
    assert "attempt 2" in events(lab, "rate")["WorkerReplaced"]
    assert "worker 1 was lost before the load began and was replaced" in " ".join(status["findings"])
    assert by_pod(lab)[address_of(lab, "rate-w-1-1-2")] > 0
    assert status["results"]["requests"] == status["results"]["started"] == lab.count()
    assert "unaccountedAtLeast" not in status["results"]

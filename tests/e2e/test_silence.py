"""A worker that falls silent and may live on: within its lease it comes back, after it the share is lost for good."""

import base64
import re
import time

import pytest
import yaml
from distance import LOST_SECONDS, cordoned, counted_of, is_up, spread
from lab import Lab, until
from machine import cluster, needs_own_cluster, number_of

promise = pytest.mark.promise

LEASE_SECONDS = 30


def pod_address(lab: Lab, pod: str) -> str:
    return lab.json("pod", pod)["status"]["podIP"]


@promise("worker-lost", "exact-totals")
def test_a_worker_that_is_silent_for_less_than_its_lease_comes_back_and_its_pause_is_no_load(lab) -> None:
    needs_own_cluster()
    lab.apply(lab.manifest("pass", load__duration="14s"))
    lab.wait_phase("pass", "Running")
    lab.wait_requests("pass", 50)
    address = pod_address(lab, "pass-w-1-1-1")
    cluster("pod-signal", "STOP", lab.namespace, "pass-w-1-1-1")
    before = counted_of(lab, address)
    time.sleep(7)
    during = counted_of(lab, address) - before
    cluster("pod-signal", "CONT", lab.namespace, "pass-w-1-1-1")
    status = lab.wait_finished("pass")

    assert during == 0
    assert counted_of(lab, address) > before
    assert status["workers"]["lost"] == 0
    # Ten of the users did nothing for six full seconds at least, and the verdict must not hide it.
    assert status["load"]["achieved"] <= status["load"]["planned"] - 6 * 10
    assert status["verdict"] == "Inconclusive", status
    assert any(finding.startswith("LoadNotReached") for finding in status["findings"]), status["findings"]
    assert status["results"]["requests"] == lab.count()


class Run:
    """One LoadTest with a worker on the far node."""

    def __init__(self, lab: Lab, name: str, far: str) -> None:
        self.lab = lab
        self.name = name
        pods = lab.pods(name, "worker")
        (lost,) = [pod for pod in pods if pod["spec"]["nodeName"] == far]
        self.lost_pod = lost["metadata"]["name"]
        self.lost_address = lost["status"]["podIP"]
        self.addresses = [pod["status"]["podIP"] for pod in pods]

    def names_the_lost(self) -> list[dict]:
        problems = self.lab.status(self.name).get("workers", {}).get("problems", [])
        return [each for each in problems if (each["pod"], each["reason"]) == (self.lost_pod, "Silent")]

    def counted(self) -> int:
        return counted_of(self.lab, *self.addresses)

    def counted_of_lost(self) -> int:
        return counted_of(self.lab, self.lost_address)

    def lost_is_over(self) -> bool:
        pods = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in self.lab.pods(self.name, "worker")}
        return pods.get(self.lost_pod, "Succeeded") in {"Succeeded", "Failed"}


def start_two_runs(lab: Lab, far: str) -> tuple[Run, Run]:
    """Start a rate with half of its workers on the far node, and users with a fifth of their workers there.

    No load moves: here is seen what is said of a share that nobody does.
    """
    for name, kind, duration, replicas, skew in (("half", "rate", "3m", 2, 1), ("fifth", "pass", "70s", 5, 3)):
        workers = spread(name, replicas=replicas, skew=skew, far=far)
        workers |= {"onLoss": "Continue", "maxLostPercent": 0 if name == "half" else 20}
        document = lab.manifest(kind, load__duration=duration, workers=workers)
        document["metadata"]["name"] = name
        lab.apply(document)
    for name in ("half", "fifth"):
        lab.wait_phase(name, "Running")
    until("all load", lambda: len(lab.target("/count")["by_client"]) == 7, seconds=20)
    return Run(lab, "half", far), Run(lab, "fifth", far)


def check_a_run_without_half_of_its_workers(run: Run, status: dict) -> None:
    """Half is too much to go on without, and what the silent worker did last, nobody can know."""
    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "WorkersLost", 1), status
    assert status["workers"]["lost"] == 1
    results = status["results"]
    assert results["unaccountedAtLeast"] is True
    assert results["requests"] - results["unsent"] - results["ambiguous"] <= run.counted(), results


def check_a_run_without_a_fifth_of_its_workers(run: Run, status: dict) -> None:
    """A fifth may be lost; the worker came back in time to say what it had done, so both bounds are known."""
    assert status["verdict"] == "Inconclusive", status
    findings = " ".join(status["findings"])
    assert "LoadNotReached" in findings
    assert "lost 1 of 5 workers" in findings
    assert status["load"]["achieved"] < status["load"]["planned"] * 0.95
    results, counted = status["results"], run.counted()
    assert "unaccountedAtLeast" not in results
    assert results["requests"] - results["unsent"] - results["ambiguous"] <= counted, results
    assert counted <= results["started"] - results["unsent"], (counted, results)


@pytest.mark.soak
@pytest.mark.timeout(200)
@promise("config-conflict")
def test_two_workers_with_other_content_under_one_name_never_start(far_node, lab) -> None:
    document = lab.manifest("pass", workers=spread("pass", replicas=2, skew=1, far=far_node))
    with cordoned(far_node):
        lab.apply(document)
        until("the near worker runs", lambda: [each for each in lab.pods("pass", "worker") if is_up(each)], seconds=60)
        [name] = {
            volume["secret"]["secretName"]
            for pod in lab.pods("pass", "worker")
            for volume in pod["spec"]["volumes"]
            if volume["name"] == "loadstone-script"
        }
        secret = lab.json("secret", name)
        secret["metadata"] = {key: secret["metadata"][key] for key in ("name", "labels", "ownerReferences")}
        for key, text in secret["data"].items():
            if b"import User" in base64.b64decode(text) and key != "run.json":
                secret["data"][key] = base64.b64encode(base64.b64decode(text) + b"\nOTHER = 1\n").decode()
        lab.kubectl("delete", "secret", name)
        lab.apply(yaml.safe_dump(secret))
    status = lab.wait_finished("pass", seconds=90)

    assert (status["verdict"], status["reason"]) == ("Error", "ConfigConflict"), status
    assert re.search("worker [01] .*sha256:[0-9a-f]{64}.*sha256:[0-9a-f]{64}", status["message"]), status["message"]
    assert lab.count() == 0


@pytest.mark.soak
@pytest.mark.timeout(360)
@promise("master-lost")
def test_a_master_that_hangs_for_good_ends_its_run_once_its_workers_are_over(lab) -> None:
    needs_own_cluster()
    lab.apply(lab.manifest("pass", load__duration="10m", transport__lease="10s"))
    lab.wait_phase("pass", "Running")
    lab.wait_requests("pass", 50)
    (master,) = lab.pods("pass", "master")
    cluster("pod-signal", "STOP", lab.namespace, master["metadata"]["name"])
    status = lab.wait_finished("pass", seconds=300)

    assert (status["verdict"], status["reason"]) == ("Error", "MasterLost"), status
    assert "is not heard any more, and no worker of it is left" in status["message"]
    until("its pods are over", lambda: not any(map(is_up, lab.pods("pass"))), seconds=60)
    assert lab.is_quiet()


BUSY_HANDLERS = """
import time
from loadstone import User, constant, events, on_message, send_message, task

@on_message("sleep")
def sleep(message):
    time.sleep(70)

@on_message("compute")
def compute(message):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass

@events.test_start.add_listener
def begin(environment):
    if environment.is_director:
        send_message("sleep", to=0)
        send_message("compute", to=1)
    else:
        send_message("sleep")

class Visitor(User):
    wait = constant(0.1)

    @task
    def front_page(self):
        self.http.get("/")
"""


@pytest.mark.soak
@pytest.mark.timeout(200)
@promise("handlers-beside", "exact-totals")
def test_handlers_that_sleep_and_compute_for_long_lose_no_worker_and_no_request(lab) -> None:
    document = lab.manifest("pass", load__duration="80s", source__inline__content=BUSY_HANDLERS, thresholds=[])
    lab.apply(document)
    lab.wait_phase("pass", "Running")
    states, stood_still = set(), [0.0]
    while not (status := lab.status("pass")).get("finished"):
        workers = status.get("workers", {})
        states.add(workers.get("lost", 0))
        for problem in workers.get("problems", []):
            said = re.search(r"stood still for ([0-9.]+) s", problem.get("message", ""))
            stood_still.append(float(said[1]) if said else 0.0)
        time.sleep(0.5)

    findings = " ".join(status["findings"])
    said = re.search(r"WorkerDegraded: worker 1 \(\S+\) stood still for up to ([0-9.]+) s", findings)
    assert said, status["findings"]
    print(f"computing handler of 30 s: {said[1]} s in the findings, {max(stood_still)} s seen, lost {max(states)}")
    assert states == {0}
    assert 15 < max(stood_still) < 60
    assert 25 < float(said[1]) < 60
    assert status["reason"] in {"LoadNotReached", "GeneratorSaturated"}, status
    assert status["results"]["requests"] == lab.count()


@pytest.mark.soak
@pytest.mark.timeout(300)
@promise("worker-lost", "exact-totals")
def test_a_frozen_node_is_lost_after_35_s_and_makes_no_load_when_it_is_back(far_node, lab) -> None:
    runs = half, fifth = start_two_runs(lab, far_node)
    cluster("node-stop", number_of(far_node))
    frozen_at = time.monotonic()
    before: list[int] = []
    # What was sent by then reaches the target, which may be slow.
    while (now := [run.counted_of_lost() for run in runs]) != before:
        before = now
        time.sleep(1)

    # Not before the lease of the lost worker is over, and soon after.
    time.sleep(LEASE_SECONDS - (time.monotonic() - frozen_at))
    assert [run.names_the_lost() for run in runs] == [[], []]
    for run in runs:
        until("the lost worker is named", run.names_the_lost, seconds=LOST_SECONDS + 5 - LEASE_SECONDS)
    print(f"named after {time.monotonic() - frozen_at:.1f} s")
    check_a_run_without_half_of_its_workers(half, lab.wait_finished("half", seconds=15))

    assert [run.counted_of_lost() for run in runs] == before
    cluster("node-cont", number_of(far_node))
    time.sleep(5)
    after = [run.counted_of_lost() for run in runs]
    print(f"sent when it was back: {[now - then for now, then in zip(after, before, strict=True)]}")
    # Of whoever had its turn when it was frozen, a request may be under way.
    assert all(now - then <= 2 for now, then in zip(after, before, strict=True)), (before, after)
    check_a_run_without_a_fifth_of_its_workers(fifth, lab.wait_finished("fifth"))
    until("both lost workers end", lambda: half.lost_is_over() and fifth.lost_is_over(), seconds=120)
    assert [run.counted_of_lost() for run in runs] == after

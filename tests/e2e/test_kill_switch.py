"""The kill switch of a LoadTestClass: runs of the class end at once, whatever scripts do, others go on, none begins."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab import kubectl, until

promise = pytest.mark.promise

STUBBORN = """
import os
import signal
import time
from loadstone import User, between, task

signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Stubborn(User):
    wait = between(0.02, 0.05)

    @task
    def buy(self):
        self.http.get("/", name="front page")

    def on_stop(self):
        sum(range(10**12))  # holds the interpreter for hours
"""


@pytest.fixture
def make_class() -> Iterator[Callable[..., str]]:
    """Make LoadTestClasses, which are the whole cluster's, and delete them in the end."""
    made: list[str] = []

    def make(name: str, *, default: bool = False) -> str:
        name = f"{name}-{int(time.time() * 1000) % 10**8}"
        metadata: dict[str, Any] = {"name": name}
        if default:
            metadata["annotations"] = {"loadstone.dev/is-default-class": "true"}
        document = {"apiVersion": "loadstone.dev/v1alpha1", "kind": "LoadTestClass", "metadata": metadata, "spec": {}}
        kubectl("apply", "-f", "-", stdin=json.dumps(document))
        made.append(name)
        return name

    yield make
    for name in made:
        kubectl("delete", "loadtestclass", name, "--ignore-not-found")


def switch(name: str, *, on: bool) -> None:
    kubectl("patch", "ldtc", name, "--type=merge", "-p", json.dumps({"spec": {"killSwitch": on}}))


@promise("kill-switch", "exact-totals")
@pytest.mark.timeout(240)
def test_the_switch_ends_stubborn_runs_of_its_class_at_once_and_leaves_others_alone(lab, labs, make_class) -> None:
    other, panic = labs(), make_class("panic")
    other.apply(other.manifest("pass", load__duration="40s", load__tolerance="15%"))
    lab.start(duration="10m", className=panic, source__inline__content=STUBBORN, thresholds=[])

    switched_at = time.monotonic()
    switch(panic, on=True)
    silent = lab.seconds_to_silence(switched_at)
    status = lab.wait_finished("pass", seconds=30)
    finished = time.monotonic() - switched_at
    print(f"killed_last_request {silent:.1f} s  killed_verdict {finished:.1f} s")

    assert silent < 10
    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Aborted", "Killed", 130), status
    assert f"The run was ended by the kill switch of LoadTestClass {panic}." in status["message"]
    assert status["workers"]["lost"] == 0, status["workers"]
    lab.check_exact(status)
    until("the pods have gone", lambda: all(pod["status"]["phase"] != "Running" for pod in lab.pods("pass")))

    # As long as it is on nothing begins, and what was to begin does not come back by itself.
    lab.patch("pass", {"trigger": "again"})
    refused = until("refused", lambda: (s := lab.status("pass"))["reason"] == "ClassDenied" and s)
    assert (refused["verdict"], refused["exitCode"]) == ("Error", 1), refused
    assert panic in refused["message"]
    switch(panic, on=False)
    assert lab.is_quiet()
    lab.reset_target()
    lab.apply(lab.manifest("pass", className=panic, trigger="with another script", load__duration="3s"))

    def has_run_again() -> dict[str, Any] | None:
        status = lab.status("pass")
        return status if status.get("run", {}).get("number") == 2 and status.get("finished") else None

    again = until("it has run again", has_run_again, seconds=60)
    assert again["results"]["requests"] == lab.count() > 0, again

    survivor = other.wait_finished("pass")
    assert survivor["reason"] in {"Passed", "GeneratorSaturated"}, survivor
    assert other.count() == survivor["results"]["requests"]


@promise("kill-switch")
@pytest.mark.timeout(180)
def test_a_default_class_kills_runs_without_a_class_even_where_their_master_is_gone(lab, make_class) -> None:
    lab.start(duration="10m", thresholds=[], master={"onLoss": "Restart"})
    panic = make_class("default", default=True)
    # A node that is cut off: the master's process is not there any more, and nobody else could tell the workers.
    (master,) = lab.pods("pass", "master")
    lab.kubectl("delete", "pod", master["metadata"]["name"], "--force", "--grace-period=0", "--wait=false")

    switched_at = time.monotonic()
    switch(panic, on=True)
    silent = lab.seconds_to_silence(switched_at)
    print(f"killed_without_master_last_request {silent:.1f} s")
    status = lab.wait_finished("pass", seconds=60)

    assert silent < 15, "a lease alone would have ended it after 30 s"
    assert (status["verdict"], status["reason"]) == ("Aborted", "Killed"), status
    assert panic in status["message"]


@promise("kill-switch", "explain")
def test_a_test_that_names_no_class_there_is_says_so_and_kubectl_explains_the_switch(lab) -> None:
    lab.apply(lab.manifest("pass", className="nowhere"))
    status = lab.wait_finished("pass", seconds=30)

    assert (status["verdict"], status["reason"]) == ("Error", "SpecInvalid"), status
    assert 'There is no LoadTestClass "nowhere", which spec.className names; create it' in status["message"]
    assert "ends every run of the class at once" in kubectl("explain", "loadtestclass.spec.killSwitch").stdout

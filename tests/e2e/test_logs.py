"""The log of a run on a real cluster: in the status, and by `loadstone logs` while it runs and after."""

import os
import subprocess
import sys
import threading

import pytest
from lab import until

promise = pytest.mark.promise

SCRIPT = """import atexit, os
from loadstone import User, constant, log, setup, task

atexit.register(lambda: print("atexit", flush=True))

@setup
def prepare(run):
    print("setup", flush=True)

class Visitor(User):
    wait = constant(0.1)

    def on_start(self):
        if not log(f"durable {self.number}", durable=True):
            raise RuntimeError("not durable")

    @task
    def front_page(self):
        self.http.get("/")
        print("turn", os.environ["TOKEN"], os.environ["P_KEY"], flush=True)

    def on_stop(self):
        print("on_stop", self.number, flush=True)
"""


def logs(lab, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadstone_cli", "logs", name, "--namespace", lab.namespace, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)


def manifest(lab) -> dict:
    lab.kubectl(
        "create", "secret", "generic", "shop", "--from-literal=token=hunter2hunter2", "--from-literal=KEY=swordfish"
    )
    document = lab.manifest("pass")
    document["spec"] |= {
        "source": {"inline": {"content": SCRIPT}},
        "thresholds": [],
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}}],
        "envFrom": [{"prefix": "P_", "secretRef": {"name": "shop"}}],
    }
    document["spec"]["load"] |= {"duration": "8s"}
    return document


@promise("logs-complete", "log-secrets", "log-command")
def test_a_runs_log_is_complete_and_shown_while_it_runs_and_after(lab) -> None:
    lab.apply(manifest(lab))
    lab.wait_phase("pass", "Running")
    followed: list[str] = []
    following = threading.Thread(target=lambda: followed.append(logs(lab, "pass", "-f").stdout))
    following.start()
    live = until("a line of the load is shown", lambda: logs(lab, "pass", "--tail", "5").stdout)
    status = lab.wait_finished("pass")
    following.join(60)

    assert len(live.splitlines()) <= 5
    assert status["verdict"] == "Passed", status
    assert status["logs"]["complete"] is True, status["logs"]
    text = logs(lab, "pass").stdout
    check(text, status)
    assert "durable 0" in followed[0]
    assert logs(lab, "pass", "--tail", "3").stdout.splitlines() == text.splitlines()[-3:]
    for pod in lab.pods("pass", "worker"):
        printed = lab.kubectl("logs", pod["metadata"]["name"], "-c", "engine").stdout
        assert "hunter2" not in printed
        assert "turn *** ***" in printed


def check(text: str, status: dict) -> None:
    """Hold the whole log against what the script has printed."""
    lines = [line.partition(" | ") for line in text.splitlines()]
    said = [line[2] for line in lines]
    assert sorted(line for line in said if line.startswith("durable")) == sorted(f"durable {n}" for n in range(20))
    assert said.count("atexit") >= 2
    assert sum(line.startswith("on_stop") for line in said) == 20
    assert said.count("turn *** ***") == status["results"]["requests"]
    assert "hunter2" not in text
    assert "swordfish" not in text
    assert {name for name, _, _ in lines} == {"director", "worker-0", "worker-1"}
    # What the director says after the verdict is in no figure of it.
    of_workers = sum(name != "director" for name, _, _ in lines)
    assert of_workers <= status["logs"]["lines"] <= len(lines)
    assert "setup" in said

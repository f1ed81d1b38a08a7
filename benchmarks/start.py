"""How fast a run starts and ends on the real cluster, as the target sees it.

`apply_to_first_request_N`: from just before `kubectl apply` to the first request, N workers.
`ready_to_first_request_10`: from the last worker being ready (status.run.workersReadyAt) to the first request.
`start_skew_10`: between the first requests of the first and of the last worker, by client address.
`end_to_verdict`: from the last request to `status.finished`.
`bare_pods_N`: N pods like workers that do nothing but import and ask once; in turn with the runs, so that what the
machine does beside hits both, and `apply_vs_bare_N` is what a run's start costs in pods' starts.
All clocks are this machine's, so the target must run here too.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests" / "e2e")]

from bare_pods import seconds_to_last_request
from figures import Figure, publish, ratio, spread
from lab import TARGET, Lab, kubectl

NAMESPACE = "bench-start"
# What the kernel does for a while after pods have gone (their networks and groups) is no part of the next start.
QUIET_SHARE = 0.9
QUIET_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


def watch_for_finish(lab: Lab, name: str, seen: dict[str, float]) -> threading.Thread:
    """Note the moment at which the status says finished, from a watch as a client has it."""
    command = [
        "kubectl",
        "-n",
        lab.namespace,
        "get",
        "loadtest",
        name,
        "--watch",
        "-o",
        "jsonpath={.status.finished}{'\\n'}",
    ]

    def follow() -> None:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == "true":
                    seen["finished"] = time.time()
                    process.terminate()
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    return thread


def settle() -> None:
    """Wait until the processors have been idle for a second, as far as they ever are."""
    began = time.time()
    while time.time() - began < PATIENCE_SECONDS:
        idle, whole = processor_times()
        time.sleep(QUIET_SECONDS)
        idle, whole = (now - before for now, before in zip(processor_times(), (idle, whole), strict=True))
        if idle >= QUIET_SHARE * whole:
            return


def processor_times() -> tuple[int, int]:
    """Return the ticks that all processors have been idle, and all their ticks (proc(5), /proc/stat)."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def one_run(lab: Lab, workers: int, number: int) -> dict[str, float]:
    """Run one small test and return its times in seconds."""
    document = lab.manifest("pass", load__duration="3s", load__users=20, workers__replicas=workers)
    document["spec"]["load"].pop("spawnRate")
    name = document["metadata"]["name"] = f"start-{workers}-{number}"
    text = yaml.safe_dump(document)
    lab.reset_target()
    applied = time.time()
    kubectl("-n", lab.namespace, "apply", "-f", "-", stdin=text)
    seen: dict[str, float] = {}
    thread = watch_for_finish(lab, name, seen)
    thread.join(timeout=120)
    count: dict[str, Any] = lab.target("/count")
    status = lab.status(name)
    assert status["verdict"] == "Passed", json.dumps(status)
    assert status["results"]["requests"] == count["requests"], (status["results"], count)
    first, last = count["first_ns"] / 1e9, count["last_ns"] / 1e9
    starts = sorted(client["first_ns"] / 1e9 for client in count["by_client"].values())
    ready = datetime.fromisoformat(status["run"]["workersReadyAt"]).timestamp()
    lab.kubectl("delete", "loadtest", name)
    lab.kubectl("wait", "pods", "-l", f"loadstone.dev/loadtest={name}", "--for=delete", "--timeout=60s", check=False)
    settle()
    return {
        "apply": first - applied,
        "skew": starts[-1] - starts[0],
        "ready": first - ready,
        "end": seen["finished"] - last,
    }


def in_turn(lab: Lab, workers: int, runs: int) -> tuple[list[dict[str, float]], list[float]]:
    """Run tests and start bare pods in turn; return the times of both."""
    times, bare = [], []
    for number in range(1, runs + 1):
        times.append(one_run(lab, workers, number))
        bare.append(seconds_to_last_request(lab, workers, number))
        settle()
    return times, bare


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    kubectl("create", "namespace", NAMESPACE)
    lab = Lab(NAMESPACE)
    try:
        lab.apply(TARGET)
        lab.kubectl("wait", "pod/shop", "--for=condition=Ready", "--timeout=60s")
        one_run(lab, 2, 0)
        two, bare_two = in_turn(lab, 2, runs)
        ten, bare_ten = in_turn(lab, 10, runs)
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    figures: list[Figure] = [
        *spread("apply_to_first_request_2", [run["apply"] for run in two], "s"),
        *spread("apply_to_first_request_10", [run["apply"] for run in ten], "s"),
        *spread("ready_to_first_request_10", [run["ready"] for run in ten], "s"),
        *spread("start_skew_2", [run["skew"] for run in two], "s"),
        *spread("start_skew_10", [run["skew"] for run in ten], "s"),
        *spread("end_to_verdict", [run["end"] for run in (*two, *ten)], "s"),
        *spread("bare_pods_2", bare_two, "s"),
        *spread("bare_pods_10", bare_ten, "s"),
        ratio("apply_vs_bare_2", [run["apply"] for run in two], bare_two),
        ratio("apply_vs_bare_10", [run["apply"] for run in ten], bare_ten),
    ]
    version = json.loads(kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    publish("start", figures, {"kubernetes": version})


if __name__ == "__main__":
    main()

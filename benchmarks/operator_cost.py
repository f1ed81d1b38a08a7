"""What the operator itself costs, at rest and beside 20 runs, and how soon another one acts after a crash.

`operator_rss_idle`, `operator_cpu_idle`: a fresh operator without a LoadTest, with its probes and its lease.
`operator_rss_20_runs`, `operator_cpu_20_runs`: while 20 LoadTests of one worker run, none starting or ending.
`operator_rss_after`: again without a LoadTest, after those.
`operator_back`: from SIGKILL of its process to the first status of a LoadTest that was applied after that.
`operator_replaced`: the same from the forced deletion of its pod, whose Lease nobody gives back.
The operator's process must be on this machine, and visible.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests" / "e2e")]

from figures import Figure, publish, spread
from lab import OPERATOR_NAMESPACE, TARGET, Lab, kubectl

NAMESPACE = "bench-operator"
SELECTOR = "app.kubernetes.io/component=operator"
RUNS = 20
SETTLE_SECONDS = 10.0


def operator_pod() -> str:
    """Return the name of the one operator pod that is not on its way out."""
    pods = json.loads(kubectl("-n", OPERATOR_NAMESPACE, "get", "pods", "-l", SELECTOR, "-o", "json").stdout)["items"]
    (name,) = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return str(name)


def process_of(pod: str) -> int:
    """Return the process of the operator in this pod, as this machine numbers it."""
    mark = f"LOADSTONE_POD_NAME={pod}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"no process of {pod} is on this machine")


def fresh_operator() -> int:
    """Replace the operator by a new pod, so that no earlier crash delays a restart; return its process."""
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", operator_pod(), "--wait=true")
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")
    return process_of(operator_pod())


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process with all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process << 3) | 2)


def resident_mib(process: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch_cpu(process: int, seconds: float) -> float:
    """Return CPU milliseconds a second over some time."""
    used, began = cpu_seconds(process), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(process) - used) * 1000 / (time.monotonic() - began)


def idle(seconds: float) -> list[Figure]:
    """Measure an operator that has nothing to do."""
    process = fresh_operator()
    time.sleep(SETTLE_SECONDS)
    cpu = watch_cpu(process, seconds)
    return [
        Figure("operator_rss_idle", round(resident_mib(process), 1), "MiB", 1),
        Figure("operator_cpu_idle", round(cpu, 2), "ms/s", 1),
    ]


def beside_runs(lab: Lab, seconds: float) -> list[Figure]:
    """Measure an operator beside runs that go on, and once more when they are gone."""
    process = process_of(operator_pod())
    names = [f"beside-{number}" for number in range(RUNS)]
    changes = {"load__duration": "10m", "load__users": 1, "workers__replicas": 1}
    for name in names:
        # One after the other and with little load: the operator is what is measured, not a machine that is too small.
        document = lab.manifest("pass", **changes)
        script = document["spec"]["source"]["inline"]
        script["content"] = script["content"].replace("between(0.05, 0.2)", "between(1, 2)")
        document["metadata"]["name"] = name
        lab.apply(document)
        lab.wait_phase(name, "Running", seconds=120)
    time.sleep(SETTLE_SECONDS)
    cpu, memory = watch_cpu(process, seconds), resident_mib(process)
    assert phases(lab) == ["Running"] * RUNS, phases(lab)
    assert process_of(operator_pod()) == process, "the operator was restarted meanwhile"
    lab.kubectl("delete", "loadtests", "--all")
    lab.kubectl("wait", "pods", "-l", "loadstone.dev/loadtest", "--for=delete", "--timeout=120s", check=False)
    time.sleep(SETTLE_SECONDS)
    return [
        Figure("operator_rss_20_runs", round(memory, 1), "MiB", 1),
        Figure("operator_cpu_20_runs", round(cpu, 2), "ms/s", 1),
        Figure("operator_rss_after", round(resident_mib(process), 1), "MiB", 1),
    ]


def phases(lab: Lab) -> list[str]:
    """Return the phase of every LoadTest."""
    return [test.get("status", {}).get("phase", "") for test in lab.json("loadtests")["items"]]


def crash() -> None:
    """Kill the operator's process; its pod starts another one."""
    os.kill(process_of(operator_pod()), signal.SIGKILL)


def remove() -> None:
    """Delete the operator's pod by force, so that its Lease is left behind."""
    kubectl("-n", OPERATOR_NAMESPACE, "delete", "pod", operator_pod(), "--force", "--grace-period=0", "--wait=false")


def seconds_to_act(lab: Lab, name: str, strike: Callable[[], None]) -> float:
    """Return how long after a blow to the operator a LoadTest that was applied after it has its first status."""
    fresh_operator()
    acted = threading.Event()
    command = ["kubectl", "-n", lab.namespace, "get", "loadtests", "--watch-only", "-o"]
    form = "jsonpath={.metadata.name} {.status.phase}{'\\n'}"
    watch = subprocess.Popen([*command, form], stdout=subprocess.PIPE, text=True)

    def follow() -> None:
        for line in watch.stdout or ():
            if line.strip() == f"{name} Suspended":
                acted.set()

    threading.Thread(target=follow, daemon=True).start()
    document = lab.manifest("pass", suspend=True)
    document["metadata"]["name"] = name
    text = yaml.safe_dump(document)
    time.sleep(SETTLE_SECONDS)
    try:
        began = time.monotonic()
        strike()
        lab.apply(text)
        assert acted.wait(60.0), f"{name}: no status within 60 s"
        took = time.monotonic() - began
    finally:
        watch.terminate()
    lab.kubectl("delete", "loadtest", name)
    return took


def main() -> None:
    """Measure, print and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="crashes of each kind")
    parser.add_argument("--seconds", type=float, default=90.0, help="length of a measurement of CPU")
    parser.add_argument("--only", choices=("idle", "runs", "crash"), help="one part, without publishing")
    arguments = parser.parse_args()
    kubectl("create", "namespace", NAMESPACE)
    lab = Lab(NAMESPACE)
    figures: list[Figure] = []
    try:
        if arguments.only in (None, "idle"):
            figures += idle(arguments.seconds)
        if arguments.only in (None, "runs"):
            lab.apply(TARGET)
            lab.kubectl("wait", "pod/shop", "--for=condition=Ready", "--timeout=60s")
            figures += beside_runs(lab, arguments.seconds)
        if arguments.only in (None, "crash"):
            for figure, strike in (("operator_back", crash), ("operator_replaced", remove)):
                took = [seconds_to_act(lab, f"{strike.__name__}-{run}", strike) for run in range(arguments.runs)]
                figures += spread(figure, took, "s")
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    if arguments.only:
        print("\n".join(f"{figure.name} {figure.value:g} {figure.unit}" for figure in figures))
        return
    version = json.loads(kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    publish("operator", figures, {"kubernetes": version})


if __name__ == "__main__":
    main()

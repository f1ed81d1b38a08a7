"""`loadstone logs`: what all engines of a run have printed, from a run on this machine or from a cluster.

In a cluster it goes the user's own way: their kubectl, their kubeconfig, their rights. A run that goes on is read where
its master keeps the log; one that has finished from the ConfigMap with its report, which holds the end of it.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
import sys
from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NOT_FOUND = 1
INTERRUPTED = 130
LOG_KEY = "log.txt.gz"
_LABEL = "loadstone.dev"


class NoLog(Exception):  # noqa: N818 it says why in a sentence
    """There is no log to show; the message says why, and what to do."""


class NoAnswer(NoLog):
    """The cluster has not told."""


def show_logs(
    name: str, *, tail: int | None, follow: bool, results: Path, kubectl: tuple[str, ...], in_cluster: bool
) -> int:
    """Print the log of the latest run of a LoadTest; return the exit code.

    Args:
        name: of the LoadTest.
        tail: how many lines of its end; None: all that is kept.
        follow: go on with what comes.
        results: folder of the runs on this machine.
        kubectl: options such as `--namespace shop`.
        in_cluster: look nowhere else.
    """
    local = newest_local(results, name)
    try:
        if local is not None and not in_cluster:
            _print_end(gzip.decompress(local.read_bytes()), tail)
            if follow:
                print(f"loadstone: {local} is of a run that has ended", file=sys.stderr)
            return 0
        return _from_cluster(_Kubectl(kubectl), name, tail=tail, follow=follow)
    except NoLog as error:
        nor = f"; nor is there a run of {name} in {results}" if isinstance(error, NoAnswer) and not in_cluster else ""
        print(f"loadstone: {error}{nor}", file=sys.stderr)
        return NOT_FOUND
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0


def newest_local(results: Path, name: str) -> Path | None:
    """Return the log of the latest run on this machine, None without any."""
    # Of runs that ended in the same second the later ones have a number.
    pattern = re.compile(rf"{re.escape(name)}-(\d{{8}}T\d{{6}}Z)(?:-(\d+))?\.log\.gz")
    found = [(match, path) for path in (results / "logs").glob("*") if (match := pattern.fullmatch(path.name))]
    return max(found, key=lambda each: (each[0][1], int(each[0][2] or 1)), default=(None, None))[1]


class _Kubectl:
    """The user's kubectl."""

    def __init__(self, options: tuple[str, ...]) -> None:
        if shutil.which("kubectl") is None:
            raise NoAnswer("there is no kubectl to ask a cluster")
        self._options = options

    def get(self, *what: str) -> dict[str, Any]:
        """Return an object, or a list of them."""
        done = subprocess.run(["kubectl", *self._options, "get", *what, "-o", "json"], capture_output=True, check=False)
        if done.returncode:
            # Before the reason it may have logged each of its tries.
            said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoAnswer(f"kubectl get {' '.join(what)}: {said[-1]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def run(self, pod: str, container: str, *command: str) -> int:
        """Run a command in a container with its output on this one's; return its exit code."""
        return subprocess.call(["kubectl", *self._options, "exec", pod, "-c", container, "--", *command])


def _from_cluster(kubectl: _Kubectl, name: str, *, tail: int | None, follow: bool) -> int:
    test = kubectl.get("loadtests.loadstone.dev", name)
    status = test.get("status") or {}
    run = (status.get("run") or {}).get("number")
    if not run:
        raise NoLog(f"LoadTest {name} has not run yet; kubectl describe loadtest {name} says why")
    if not status.get("finished"):
        return _from_master(kubectl, test, run, tail=tail, follow=follow)
    if not status.get("report"):
        raise NoLog(f"run {run} of {name} left no report, and so no log: {status.get('message', '')}")
    held = kubectl.get("configmap", status["report"]).get("binaryData") or {}
    if LOG_KEY not in held:
        raise NoLog(f"ConfigMap {status['report']} holds no log: nothing was printed, or it could not be fetched")
    _print_end(gzip.decompress(base64.b64decode(held[LOG_KEY])), tail)
    return 0


def _from_master(kubectl: _Kubectl, test: dict[str, Any], run: int, *, tail: int | None, follow: bool) -> int:
    selector = f"{_LABEL}/loadtest-uid={test['metadata']['uid']},{_LABEL}/run={run},{_LABEL}/role=master"
    pods = kubectl.get("pods", "-l", selector)["items"]
    if not pods:
        raise NoLog(f"the master of run {run} is not there yet; try again in a moment")
    newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])["metadata"]["name"]
    wanted = [f"LOADSTONE_FOLLOW={int(follow)}", *([f"LOADSTONE_TAIL={tail}"] if tail is not None else [])]
    return kubectl.run(newest, "master", "env", *wanted, "python", "-m", "loadstone_runner", "logs")


def _print_end(text: bytes, tail: int | None) -> None:
    # splitlines() would also split what a progress bar has written over.
    sys.stdout.buffer.write(text if tail is None else b"".join(deque(BytesIO(text), maxlen=tail)))
    sys.stdout.buffer.flush()

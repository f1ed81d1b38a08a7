"""What only a cluster of this machine's own can do to itself: freeze a node or a pod, restart parts of it."""

import functools
import json
import os
import subprocess
from pathlib import Path

import pytest
from lab import OPERATOR_NAMESPACE, kubectl

_SCRIPT = Path(__file__).parent / "cluster" / "cluster"


def cluster(*arguments: str) -> str:
    """Run a command of cluster/cluster; AssertionError with what it said when it fails."""
    done = subprocess.run([str(_SCRIPT), *arguments], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@functools.cache
def is_own_cluster() -> bool:
    """Say whether cluster/cluster has booted this one."""
    return os.name == "posix" and os.getuid() == 0 and f"KUBECONFIG={os.environ.get('KUBECONFIG')}" in cluster("env")


def needs_own_cluster() -> None:
    """Skip the test on a cluster that cluster/cluster has not booted: nobody may be harmed there."""
    if not is_own_cluster():
        pytest.skip("needs a cluster of this machine's own: run tests/e2e/run as root, without KUBECONFIG")


def nodes() -> list[str]:
    """Return the names of the nodes."""
    return sorted(
        item["metadata"]["name"] for item in json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
    )


def number_of(node: str) -> str:
    """Return what cluster/cluster calls a node."""
    return node.removeprefix("node")


def operators() -> list[dict]:
    """Return the operator's pods that are not on their way out."""
    pods = kubectl("-n", OPERATOR_NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=operator", "-o", "json")
    return [pod for pod in json.loads(pods.stdout)["items"] if "deletionTimestamp" not in pod["metadata"]]

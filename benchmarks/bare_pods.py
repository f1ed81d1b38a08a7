"""What the pods alone cost on this cluster: the floor that a run's start is held against.

The same image and the same two containers a worker has, which only import what agent and engine import, and one
request to the target. No operator, no master, no barrier: nobody who runs workers in such pods can be faster.
"""

import time
from typing import Any

import yaml
from lab import Lab, kubectl

IMAGE = "localhost/loadstone-runner:dev"
AGENT = "import asyncio, grpc.aio, time; time.sleep(600)"
ENGINE = """
from gevent import monkey; monkey.patch_all()
import socket, time
while True:
    try:
        with socket.create_connection(("shop", 80), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.1\\r\\nHost: shop\\r\\nConnection: close\\r\\n\\r\\n")
            connection.recv(1000)
        break
    except OSError:
        time.sleep(0.02)
time.sleep(600)
"""
DEADLINE_SECONDS = 60


def container(name: str, code: str) -> dict[str, Any]:
    """Return a container that is as restricted as a worker's, with a volume beside it."""
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/venv/bin/python", "-c", code],
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "volumeMounts": [{"name": "sockets", "mountPath": "/run/sockets"}],
    }


def pod(name: str) -> dict[str, Any]:
    """Return a pod of a worker's shape that asks the target once."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"bare": "true"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [{**container("agent", AGENT), "restartPolicy": "Always"}],
            "containers": [container("engine", ENGINE)],
            "volumes": [{"name": "sockets", "emptyDir": {}}],
        },
    }


def seconds_to_last_request(lab: Lab, workers: int, number: int) -> float:
    """Create so many pods at once and return when the last of them asked the target for the first time."""
    pods = [pod(f"bare-{workers}-{number}-{index}") for index in range(workers)]
    lab.reset_target()
    applied = time.time()
    kubectl("-n", lab.namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(pods))
    while len(clients := lab.target("/count")["by_client"]) < workers:
        if time.time() - applied > DEADLINE_SECONDS:
            raise SystemExit(f"only {len(clients)} of {workers} bare pods came within {DEADLINE_SECONDS} s")
        time.sleep(0.2)
    lab.kubectl("delete", "pods", "-l", "bare=true", "--wait=true", "--timeout=60s")
    return max(client["first_ns"] for client in clients.values()) / 1e9 - applied

"""Runs over two nodes: where their pods go, and what the target has heard from each of them."""

import contextlib
import time
from collections.abc import Iterator

from lab import Lab, kubectl

LOST_SECONDS = 35  # after its last word a worker is lost


def counted_of(lab: Lab, *addresses: str) -> int:
    """Return how many requests the target has counted from these pods."""
    by_client = lab.target("/count")["by_client"]
    return sum(by_client.get(address, {"count": 0})["count"] for address in addresses)


def gain(lab: Lab, address: str, *, seconds: float) -> int:
    """Return how many requests come from a pod within some seconds."""
    before = counted_of(lab, address)
    time.sleep(seconds)
    return counted_of(lab, address) - before


def spread(name: str, *, replicas: int, skew: int, far: str) -> dict:
    """Return `workers` of which one has to go to the far node, as a user would write it."""
    elsewhere = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [far]}]}
    labels = {"loadstone.dev/loadtest": name, "loadstone.dev/role": "worker"}
    spec = {
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": elsewhere}]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": skew,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
            }
        ],
    }
    return {"replicas": replicas, "template": {"spec": spec}}


@contextlib.contextmanager
def cordoned(node: str) -> Iterator[None]:
    """Let no pod go to a node, as long as the context lasts."""
    kubectl("cordon", node)
    try:
        yield
    finally:
        kubectl("uncordon", node)


def is_up(pod: dict) -> bool:
    return pod["status"]["phase"] == "Running"

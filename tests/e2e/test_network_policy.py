"""Who can open a connection to the ports of a run, where the cluster's network enforces NetworkPolicies."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from lab import TARGET, Lab, kubectl, until
from machine import cluster, is_own_cluster, operators

promise = pytest.mark.promise

DIAL = """
import socket, sys
for place in sys.argv[1:]:
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print("open")
    except OSError:
        print("closed")
"""
LOAD, METRICS = {"master"}, {"master's metrics", "worker's metrics"}


class Peer:
    """A container that tries to open connections."""

    def __init__(self, namespace: str, pod: str, container: str) -> None:
        self._exec = ("-n", namespace, "exec", pod, "-c", container, "--", "python3", "-c", DIAL)

    def reaches(self, places: dict[str, str]) -> set[str]:
        """Return the names of the places that take a connection."""
        words = kubectl(*self._exec, *places.values()).stdout.split()
        return {name for name, word in zip(places, words, strict=True) if word == "open"}


def peer_of(pod: dict[str, Any]) -> Peer:
    """Take a pod that exists."""
    return Peer(pod["metadata"]["namespace"], pod["metadata"]["name"], pod["spec"]["containers"][0]["name"])


def make_peer(lab: Lab, name: str, labels: dict[str, str] | None = None) -> Peer:
    """Make a pod that does nothing by itself; `wait_up` waits for it."""
    pod, _ = yaml.safe_load_all(TARGET)
    pod["metadata"] = {"name": name, "labels": labels or {}}
    (container,) = pod["spec"]["containers"]
    del container["args"], container["readinessProbe"]
    container["command"] = ["sleep", "infinity"]
    lab.apply(pod)
    return Peer(lab.namespace, name, container["name"])


def wait_up(lab: Lab) -> None:
    lab.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")


def wait_empty(what: str, look: Callable[[], dict[str, set[str]]]) -> None:
    """Wait until nothing is left; AssertionError with what was."""
    left: dict[str, set[str]] = {}

    def is_empty() -> bool:
        left.clear()
        left.update(look())
        return not left

    try:
        until(what, is_empty)
    except AssertionError as error:
        raise AssertionError(f"{error}; reached, unlike what was wanted: {left}") from error


@pytest.fixture
def elsewhere(lab: Lab) -> Iterator[Lab]:
    """Give a second namespace, without a target."""
    other = Lab(f"{lab.namespace}-elsewhere")
    kubectl("create", "namespace", other.namespace)
    yield other
    kubectl("delete", "namespace", other.namespace, "--wait=false")


def needs_enforcement(lab: Lab, stranger: Peer) -> None:
    """Skip the test where the network lets connections pass that a policy forbids; ours may not."""
    if is_own_cluster():
        cluster("policies")
        return
    target = {"shop": f"{lab.json('pod/shop')['status']['podIP']}:8800"}
    until("a stranger reaches the target", lambda: stranger.reaches(target))
    forbid = {"podSelector": {"matchLabels": {"app": "shop"}}, "policyTypes": ["Ingress"]}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "nobody"}}
    lab.apply(policy | {"spec": forbid})
    try:
        until("a policy closes the target", lambda: not stranger.reaches(target), step=1.0)
    except AssertionError:
        pytest.skip("this cluster's network enforces no NetworkPolicy: a pod reached one that a policy closes")
    lab.kubectl("delete", "networkpolicy", "nobody")
    until("a stranger reaches the target again", lambda: stranger.reaches(target))


@promise("network-policy")
def test_a_runs_ports_are_open_to_those_whom_its_policy_names_and_closed_to_everybody_else(lab, elsewhere) -> None:
    peers = {"a stranger beside the run": make_peer(lab, "stranger")}
    peers["a stranger in another namespace"] = make_peer(elsewhere, "stranger")
    peers["a Prometheus"] = make_peer(elsewhere, "prometheus", {"app.kubernetes.io/name": "prometheus"})
    wait_up(lab)
    needs_enforcement(lab, peers["a stranger beside the run"])
    lab.start("15m", load__users=2)
    (policy,) = lab.json("networkpolicies", "-l", "loadstone.dev/loadtest=pass")["items"]
    control, _ = policy["spec"]["ingress"]
    badges = [peer["podSelector"]["matchLabels"] for peer in control["from"]]
    peers["somebody in another namespace with the labels of a worker and of the operator"] = make_peer(
        elsewhere, "impostor", {name: value for badge in badges for name, value in badge.items()}
    )
    wait_up(elsewhere)
    (master,), (worker, fellow) = lab.pods("pass", "master"), lab.pods("pass", "worker")
    (operator,) = operators()
    peers |= {"a worker": peer_of(fellow), "the operator": peer_of(operator)}
    places = {
        "master": f"{master['status']['podIP']}:8650",
        "master's metrics": f"{master['status']['podIP']}:8651",
        "worker's metrics": f"{worker['status']['podIP']}:8651",
    }
    let_in = {"a worker": LOAD, "the operator": LOAD, "a Prometheus": METRICS}

    def reached() -> dict[str, set[str]]:
        with ThreadPoolExecutor(3) as each:
            return dict(zip(peers, each.map(lambda peer: peer.reaches(places), peers.values()), strict=True))

    def surprises(wanted: dict[str, set[str]]) -> dict[str, set[str]]:
        return {name: found for name, found in reached().items() if found != wanted.get(name, set())}

    wait_empty("who is let in, and nobody else", lambda: surprises(let_in))
    lab.kubectl("delete", "networkpolicy", policy["metadata"]["name"])
    wait_empty("everybody, as the policy is gone", lambda: surprises({name: set(places) for name in peers}))

    status = lab.status("pass")
    assert (status["phase"], status["run"]["number"]) == ("Running", 1)
    lab.kubectl("delete", "loadtest", "pass")
    until("the run's pods are gone", lambda: not lab.pods("pass"), seconds=60)

"""A master that falls silent and may live on beside the one that takes its place."""

import time

import pytest
from distance import LOST_SECONDS, cordoned, counted_of, gain, is_up, spread
from lab import Lab, until
from machine import cluster, nodes, number_of

promise = pytest.mark.promise


@pytest.mark.soak
@pytest.mark.timeout(300)
@promise("master-restart", "load-moves", "exact-totals")
def test_a_master_whose_node_is_frozen_is_replaced_and_is_nobody_s_master_when_it_is_back(far_node, lab) -> None:
    near_node, near, far = start_over_two_nodes(lab, far_node)
    usual = gain(lab, near, seconds=5)
    with cordoned(far_node):
        cluster("node-stop", number_of(far_node))
        successor = replace_master(lab, near_node)
        # Nobody can know whether the frozen one is at work, and the load had begun.
        environment = environment_of(successor, "master")
        assert (environment["LOADSTONE_IS_SOLE"], environment["LOADSTONE_HAS_BEGUN"]) == ("0", "1")
        # The near worker does its half, and not that of the other side, for which nobody can vouch.
        time.sleep(LOST_SECONDS)
        alone = gain(lab, near, seconds=5)
        print(f"requests of the near worker in 5 s: {usual} before, {alone} alone")
        assert usual * 0.6 < alone < usual * 1.4
        before = counted_of(lab, far)
        cluster("node-cont", number_of(far_node))
        status = lab.wait_finished("pass", seconds=120)

    assert counted_of(lab, far) <= before + 10, "one request of each user may have been on its way"
    check(lab, status)


def start_over_two_nodes(lab: Lab, far_node: str) -> tuple[str, str, str]:
    """Start a run with its master and one of two workers on the far node.

    Return the near node and the addresses of the near worker and the far one.
    """
    (near_node,) = [node for node in nodes() if node != far_node]
    document = lab.manifest("pass", load__duration="110s", workers=spread("pass", replicas=2, skew=1, far=far_node))
    with cordoned(near_node):
        lab.apply(document)
        until("the far pods run", lambda: len([each for each in lab.pods("pass") if is_up(each)]) == 2, seconds=60)
    lab.wait_phase("pass", "Running")
    lab.wait_requests("pass", 100)
    address = {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in lab.pods("pass", "worker")}
    return near_node, address[near_node], address[far_node]


def replace_master(lab: Lab, node: str) -> dict:
    """Delete the master's pod by force, as whoever finds it on a node that is gone, and return the pod of the next."""
    (master,) = lab.pods("pass", "master")
    assert master["spec"]["nodeName"] != node
    lab.kubectl("delete", "pod", master["metadata"]["name"], "--force", "--grace-period=0")
    until("another master", lambda: lab.status("pass")["run"]["epoch"] == 2, seconds=20)
    return until(
        "its pod",
        lambda: next((pod for pod in lab.pods("pass", "master") if pod["spec"].get("nodeName") == node), None),
    )


def environment_of(pod: dict, container: str) -> dict[str, str]:
    """Return what a container is told, by name."""
    containers = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    (found,) = [each for each in containers if each["name"] == container]
    return {each["name"]: each.get("value", "") for each in found["env"]}


def check(lab: Lab, status: dict) -> None:
    """The run went on with the second master, had never more load than was asked for, and hides nothing."""
    assert status["run"]["epoch"] == 2
    assert any(finding.startswith("MasterRestarted: ") for finding in status["findings"]), status["findings"]
    assert status["load"]["achieved"] <= status["load"]["planned"], status
    results, counted = status["results"], lab.count()
    print(f"{status['verdict']}/{status['reason']}, {counted} counted by the target: {results}")
    assert results["requests"] <= counted
    assert results.get("unaccountedAtLeast") or counted <= results["started"] - results["unsent"]

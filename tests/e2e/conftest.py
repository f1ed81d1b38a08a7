"""Fixtures of the end-to-end tests: the cluster is up, and each test has a namespace of its own."""

import contextlib
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from lab import OPERATOR_NAMESPACE, TARGET, Lab, kubectl
from machine import cluster, needs_own_cluster, nodes, number_of, operators

NOT_MADE = (AssertionError, subprocess.TimeoutExpired)
_NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: waits for minutes, so it runs only when asked for: -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what waits for minutes, unless marks were chosen; last comes what changes the cluster for good."""
    items.sort(key=lambda item: item.path.name == "test_network_policy.py")
    if not config.option.markexpr:
        left_out = [item for item in items if "soak" in item.keywords]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def cluster_is_up() -> None:
    kubectl("version")
    kubectl("get", "crd", "loadtests.loadstone.dev")
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")


def make_lab() -> Lab:
    """Make a namespace with enforced `restricted` pod security and a target in it."""
    lab = Lab(f"e2e-{next(_NUMBERS)}-{os.getpid()}-{int(time.time()) % 100000}")
    kubectl("create", "namespace", lab.namespace)
    kubectl("label", "namespace", lab.namespace, "pod-security.kubernetes.io/enforce=restricted")
    lab.apply(TARGET)
    lab.kubectl("wait", "pod/shop", "--for=condition=Ready", "--timeout=60s")
    return lab


@pytest.fixture(scope="session")
def labs(request: pytest.FixtureRequest) -> Iterator[Callable[[], Lab]]:
    """Give what gives a lab, and makes the next one while a test begins with this one."""
    wanted = sum("lab" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with ThreadPoolExecutor(1) as maker:
        ahead: list[Future[Lab]] = []

        def give() -> Lab:
            nonlocal wanted
            wanted -= 1
            try:
                given = ahead.pop().result() if ahead else make_lab()
            except NOT_MADE:  # the test before may have stopped parts of the cluster
                given = make_lab()
            if wanted > 0:
                ahead.append(maker.submit(make_lab))
            return given

        yield give
        for each in ahead:
            with contextlib.suppress(*NOT_MADE):
                kubectl("delete", "namespace", each.result().namespace, "--wait=false")


@pytest.fixture
def lab(request: pytest.FixtureRequest, labs: Callable[[], Lab]) -> Iterator[Lab]:
    """Give a namespace with enforced `restricted` pod security and a target in it."""
    lab = labs()
    yield lab
    failed = getattr(request.node, "failed", False)
    if failed:
        for what in ("loadtests", "pods", "events"):
            print(lab.kubectl("get", what, "-o", "wide", check=False).stdout)
        print(lab.kubectl("get", "loadtests", "-o", "yaml", check=False).stdout)
    kubectl("delete", "namespace", lab.namespace, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let the fixture know that its test failed, so that it prints what the cluster says."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture
def far_node() -> Iterator[str]:
    """Give a node that nothing is on, and that nothing goes to without need."""
    needs_own_cluster()
    (operator,) = operators()
    others = [node for node in nodes() if node != operator["spec"]["nodeName"]]
    if not others:
        pytest.skip("needs a second node: tests/e2e/cluster/cluster ensure 2")
    kubectl("taint", "node", others[0], "loadstone.dev/e2e=far:PreferNoSchedule", "--overwrite")
    yield others[0]
    cluster("node-cont", number_of(others[0]))
    kubectl("taint", "node", others[0], "loadstone.dev/e2e-")
    kubectl("wait", "node", others[0], "--for=condition=Ready", "--timeout=60s")

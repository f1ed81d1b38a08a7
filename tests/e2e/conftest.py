"""Fixtures of the end-to-end tests: the cluster is up, and each test has a namespace of its own."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab import OPERATOR_NAMESPACE, TARGET, Lab, kubectl

_NUMBERS = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: waits for minutes, so it runs only when asked for: -m soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what waits for minutes, unless marks were chosen."""
    if not config.option.markexpr:
        left_out = [item for item in items if "soak" in item.keywords]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def cluster_is_up() -> None:
    kubectl("version")
    kubectl("get", "crd", "loadtests.loadstone.dev")
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Give a namespace with enforced `restricted` pod security and a target in it."""
    namespace = f"e2e-{next(_NUMBERS)}-{int(time.time()) % 100000}"
    kubectl("create", "namespace", namespace)
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    lab = Lab(namespace)
    lab.apply(TARGET)
    lab.kubectl("wait", "pod/shop", "--for=condition=Ready", "--timeout=60s")
    yield lab
    failed = getattr(request.node, "failed", False)
    if failed:
        for what in ("loadtests", "pods", "events"):
            print(lab.kubectl("get", what, "-o", "wide", check=False).stdout)
        print(lab.kubectl("get", "loadtests", "-o", "yaml", check=False).stdout)
    kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Let the fixture know that its test failed, so that it prints what the cluster says."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report

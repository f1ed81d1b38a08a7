"""The chart: least rights, restricted pods, limits, and an install that sees one namespace only."""

import json
import subprocess
from pathlib import Path

import pytest
from lab import OPERATOR_NAMESPACE, is_untouched, kubectl, until

promise = pytest.mark.promise
CHART = Path(__file__).parents[2] / "helm" / "loadstone"


@pytest.mark.telling
@promise("restricted")
def test_the_operator_runs_under_enforced_restricted_pod_security(cluster_is_up) -> None:
    namespace = json.loads(kubectl("get", "namespace", OPERATOR_NAMESPACE, "-o", "json").stdout)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")


@promise("explain")
def test_kubectl_explain_describes_every_field(cluster_is_up) -> None:
    said = kubectl("explain", "loadtest.spec", "--recursive=false").stdout
    assert "<no description>" not in said
    assert "thresholds" in said
    assert "<no description>" not in kubectl("explain", "loadtest.spec.load").stdout


@promise("limits")
def test_two_tests_at_once_never_exceed_the_limit_of_workers(lab, limited_operator) -> None:
    limited_operator({"limits.totalWorkers": "3", "limits.workersPerTest": "2", "limits.users": "100"})
    first, second = lab.manifest("pass", load__duration="6s"), lab.manifest("pass", load__duration="6s")
    second["metadata"]["name"] = "pass-too"
    lab.apply(first)
    lab.apply(second)
    most = 0

    def both_finished() -> bool:
        nonlocal most
        # One list: between two of them pods of one test can go and those of the other come.
        workers = lab.json("pods", "-l", "loadstone.dev/role=worker")["items"]
        most = max(most, sum(pod["status"]["phase"] in {"Pending", "Running"} for pod in workers))
        return all(lab.status(name).get("finished") for name in ("pass", "pass-too"))

    until("both have finished", both_finished, seconds=90)
    assert most <= 3
    assert [is_untouched(lab.status(name)) for name in ("pass", "pass-too")] == [True, True]


@promise("limits")
def test_a_test_above_the_limits_is_refused_in_its_status(lab, limited_operator) -> None:
    limited_operator({"limits.totalWorkers": "10", "limits.workersPerTest": "2", "limits.users": "15"})
    lab.apply(lab.manifest("pass"))
    status = lab.wait_finished("pass", seconds=20)

    assert status["verdict"] == "Error"
    assert "20" in status["message"]
    assert "15" in status["message"]


@pytest.fixture
def limited_operator():
    """Let a test change the chart's values; put them back afterwards."""

    def upgrade(values: dict[str, str]) -> None:
        settings = [item for key, value in values.items() for item in ("--set", f"{key}={value}")]
        command = ["helm", "upgrade", "loadstone", str(CHART), "-n", OPERATOR_NAMESPACE, "--reuse-values", *settings]
        subprocess.run(command, check=True, capture_output=True, text=True)
        kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")

    yield upgrade
    upgrade({"limits.totalWorkers": "0", "limits.workersPerTest": "100", "limits.users": "0"})


@promise("namespaced")
def test_an_install_for_one_namespace_works_with_roles_only(lab) -> None:
    own = f"{lab.namespace}-operator"
    kubectl("create", "namespace", own)
    kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=0")
    values = json.loads(
        subprocess.run(
            ["helm", "get", "values", "loadstone", "-n", OPERATOR_NAMESPACE, "-o", "json"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    settings = [
        "--set-json",
        f"image={json.dumps(values['image'])}",
        "--set-json",
        f"runner={json.dumps(values['runner'])}",
    ]
    try:
        subprocess.run(
            [
                "helm",
                "install",
                "own",
                str(CHART),
                "-n",
                own,
                "--skip-crds",
                *settings,
                "--set",
                f"watchNamespaces={{{lab.namespace}}}",
                "--wait",
                "--timeout",
                "60s",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        manifest = subprocess.run(
            ["helm", "get", "manifest", "own", "-n", own], check=True, capture_output=True, text=True
        ).stdout
        assert "kind: ClusterRoleBinding" not in manifest
        lab.apply(lab.manifest("pass", load__duration="2s"))
        status = lab.wait_finished("pass")
        assert is_untouched(status), status
        assert status["results"]["requests"] == lab.count()
    finally:
        subprocess.run(["helm", "uninstall", "own", "-n", own], check=False, capture_output=True)
        kubectl("delete", "namespace", own, "--wait=false")
        kubectl("-n", OPERATOR_NAMESPACE, "scale", "deployment/loadstone", "--replicas=1")
        kubectl("-n", OPERATOR_NAMESPACE, "rollout", "status", "deployment/loadstone", "--timeout=60s")

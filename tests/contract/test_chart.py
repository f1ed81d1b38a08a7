"""The chart says what the operator reads, grants what it needs and nothing else, and passes the restricted level."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lacking import lacks

from loadstone_operator.cluster.rights import AUTHORITY, AUTHORITY_NEW, CLUSTER, NEEDED, NETWORK, lacking
from loadstone_operator.settings import read_settings

promise = pytest.mark.promise

CHART = Path(__file__).parents[2] / "helm" / "loadstone"
CRDS = Path(__file__).parents[2] / "crds"


def find_helm() -> str | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loadstone-cluster"
    cached = sorted(Path(os.environ.get("CLUSTER_CACHE") or cache).glob("helm-*/helm"))
    return shutil.which("helm") or (str(cached[-1]) if cached else None)


@pytest.fixture(scope="module")
def helm() -> str:
    found = find_helm()
    if found is None:
        lacks("helm is missing: run tests/e2e/cluster/cluster build")
    return found


def template(helm: str, *arguments: str, release: str = "loadstone") -> list[dict[str, Any]]:
    command = [helm, "template", release, str(CHART), "--namespace", "loadstone-system", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def only(documents: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = (each for each in documents if each["kind"] == kind and name in (None, each["metadata"]["name"]))
    return found


def environment(documents: list[dict[str, Any]]) -> dict[str, str]:
    (container,) = only(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", "from-the-pod") for each in container["env"]}


def test_the_operator_reads_the_values_of_the_chart(helm: str) -> None:
    values = ["limits.workersPerTest=7", "limits.totalWorkers=3000000", "limits.users=9", "logLevel=DEBUG"]
    values += [
        "watchNamespaces={a,b}",
        "runner.image=r:1",
        "runner.imagePullSecrets={x,y}",
        "runner.resources.limits.cpu=3",
    ]
    settings = read_settings(environment(template(helm, *(word for each in values for word in ("--set", each)))))

    limits = settings.limits
    assert (limits.workers_per_test, limits.total_workers, limits.users) == (7, 3_000_000, 9)
    assert settings.watch_namespaces == ("a", "b")
    assert (settings.runner.image, settings.runner.pull_secrets) == ("r:1", ("x", "y"))
    assert settings.runner.engine_resources == {"limits": {"cpu": 3}}
    assert settings.log_level == "DEBUG"


def test_the_defaults_are_readable_and_the_images_are_of_the_charts_version(helm: str) -> None:
    documents = template(helm)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    settings = read_settings(environment(documents))

    assert settings.runner.image == f"loadstone-runner:{version}"
    assert settings.watch_namespaces == ()
    (container,) = only(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"loadstone-operator:{version}"


def test_an_unset_limit_is_none(helm: str) -> None:
    assert (
        read_settings(environment(template(helm, "--set", "limits.workersPerTest=null"))).limits.workers_per_test == 0
    )


def granted(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@pytest.mark.parametrize("arguments", [(), ("--set", "watchNamespaces={shop}")])
def test_the_role_grants_what_the_operator_needs_and_nothing_else(helm: str, arguments: tuple[str, ...]) -> None:
    where = NEEDED if arguments else {**NEEDED, **CLUSTER}
    for enabled, needed in (("true", {**where, **NETWORK}), ("false", where)):
        documents = template(helm, *arguments, "--set", f"networkPolicy.enabled={enabled}")
        role = only(documents, "Role" if arguments else "ClusterRole", "loadstone")

        assert granted(role) == {resource: set(verbs) for resource, verbs in needed.items()}
        assert lacking(role["rules"], needed) == []


@promise("keys-unseen")
def test_in_its_own_namespace_the_operator_may_touch_its_lease_and_the_secret_of_its_authorities(helm: str) -> None:
    documents = template(helm)
    settings = read_settings(environment(documents))
    own = {
        "leases": ("loadstone-lease", settings.lease_name),
        "secrets": ("loadstone-authority", settings.authority_name),
    }

    roles = [each for each in documents if each["kind"] == "Role"]
    assert {each["metadata"]["name"] for each in roles} == {role for role, _ in own.values()}
    for resource, (name, touched) in own.items():
        role = only(documents, "Role", name)
        assert role["metadata"]["namespace"] == "loadstone-system"
        new, held = role["rules"]
        assert (new["resources"], new["verbs"], new.get("resourceNames")) == ([resource], ["create"], None)
        assert (held["resources"], held["verbs"], held["resourceNames"]) == ([resource], ["get", "update"], [touched])
    rules = only(documents, "Role", "loadstone-authority")["rules"]
    assert lacking(rules, AUTHORITY, name=settings.authority_name) + lacking(rules, AUTHORITY_NEW) == []
    assert lacking(rules, AUTHORITY, name="another") == ["get secrets", "update secrets"]


@promise("network-policy")
def test_the_operator_is_told_who_may_reach_a_run(helm: str) -> None:
    documents = template(helm, release="mine")
    access = read_settings(environment(documents)).runner.access

    assert access is not None
    (operator,) = access.operator
    pod = only(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "loadstone-system"}
    assert operator["podSelector"]["matchLabels"].items() <= pod.items()
    (prometheus,) = access.metrics
    assert prometheus["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}

    nobody = read_settings(environment(template(helm, "--set-json", "networkPolicy.metricsFrom=[]"))).runner.access
    assert nobody is not None
    assert nobody.metrics == ()
    off = template(helm, "--set", "networkPolicy.enabled=false")
    assert read_settings(environment(off)).runner.access is None


def test_an_install_for_some_namespaces_makes_nothing_cluster_wide(helm: str) -> None:
    documents = template(helm, "--set", "watchNamespaces={a,b}", release="own")

    assert {each["metadata"].get("namespace") for each in documents} == {"loadstone-system", "a", "b"}
    assert not [each for each in documents if each["kind"].startswith("Cluster")]


def test_every_binding_names_a_role_and_an_account_that_exist(helm: str) -> None:
    for arguments in ((), ("--set", "watchNamespaces={a,b}"), ("--set", "serviceAccount.name=mine")):
        documents = template(helm, *arguments)
        made = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents}
        for binding in (each for each in documents if each["kind"].endswith("RoleBinding")):
            (subject,) = binding["subjects"]
            assert ("ServiceAccount", subject["namespace"], subject["name"]) in made
            role = binding["roleRef"]
            assert (role["kind"], binding["metadata"].get("namespace"), role["name"]) in made


def test_who_may_edit_tests_may_not_write_their_status(helm: str) -> None:
    roles = [
        each for each in template(helm) if each["kind"] == "ClusterRole" and each["metadata"]["name"] != "loadstone"
    ]

    assert len(roles) == 2
    for role in roles:
        for (_, resource), verbs in granted(role).items():
            assert resource != "loadtests/status" or verbs == {"get", "list", "watch"}


def test_the_operators_pod_meets_the_restricted_level_and_has_requests_and_limits(helm: str) -> None:
    spec = only(template(helm), "Deployment")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]

    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["replicas"] == 1
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert {"livenessProbe", "readinessProbe"} <= set(container)


def test_the_selector_of_the_deployment_and_the_service_is_in_the_pods_labels(helm: str) -> None:
    documents = template(helm, "--set", "podLabels.app\\.kubernetes\\.io/name=other")
    pod = only(documents, "Deployment")["spec"]["template"]

    assert only(documents, "Deployment")["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert only(documents, "Service")["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == "8651"


@pytest.mark.parametrize(
    "value",
    [
        "limits.users=many",
        "limits.totalWorkers=-1",
        "logLevel=LOUD",
        "watchNamespaces={Shop}",
        "imagee.tag=x",
        "runner.imagePullPolicy=Sometimes",
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_installed(helm: str, value: str) -> None:
    command = [helm, "template", "loadstone", str(CHART), "--set", value]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "don't meet the specifications of the schema" in done.stderr


def test_every_value_has_a_place_in_the_schema() -> None:
    def missing(values: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
        found = []
        for key, value in values.items():
            known = schema.get("properties", {}).get(key)
            if known is None:
                found.append(f"{path}{key}")
            elif isinstance(value, dict) and known.get("additionalProperties") is False:
                found += missing(value, known, f"{path}{key}.")
        return found

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert missing(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "") == []


def test_the_chart_installs_the_crds_of_the_project(helm: str) -> None:
    documents = template(helm, "--include-crds")
    names = {each["metadata"]["name"] for each in documents if each["kind"] == "CustomResourceDefinition"}
    rendered = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in CRDS.glob("*.yaml")}

    assert names == rendered

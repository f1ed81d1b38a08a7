import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from loadstone_core.admission import admit
from loadstone_core.clock import ManualClock
from loadstone_core.plan.model import RunPlan
from loadstone_core.spec.digest import files_digest
from loadstone_core.spec.model import Tls
from loadstone_core.verdict.outcome import Reason
from loadstone_operator import naming
from loadstone_operator.actions import Past
from loadstone_operator.cluster.cluster import KubernetesCluster
from loadstone_operator.cluster.reading import owner_of, read_pod
from loadstone_operator.manifests import objects
from loadstone_operator.manifests.order import (
    Access,
    RunnerDefaults,
    RunOrder,
    SourceMissing,
    make_order,
    script_files,
)
from loadstone_operator.manifests.pods import master_pod, worker_pod
from loadstone_operator.observation import LoadTestView
from loadstone_operator.ports import CreationFailed
from loadstone_operator.trust.issued import RunCredentials, Signed
from loadstone_protocol.identity import Pems

RUNNER = RunnerDefaults("loadstone-runner:1", pull_secrets=("registry",))


def document(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": "checkout", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "source": {"inline": {"content": "pass\n", "files": {"lib/pages.py": "FRONT = '/'\n"}}},
            "load": {"target": "http://shop", "users": 10, "duration": "5s"},
            "workers": {"replicas": 2},
            **spec,
        },
    }


def order(**spec: Any) -> RunOrder:
    loadtest = admit(document(**spec))
    files = script_files(loadtest, None)
    return make_order(loadtest, uid="0a1b2c3d-1111", run=3, epoch=1, files=files, runner=RUNNER)


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


SIGNED = RunCredentials("a1b2", b"ca", Signed(b"m", b"mk"), (Signed(b"w0", b"k0"), Signed(b"w1", b"k1")))


PODS = {
    "master": lambda **spec: master_pod(order(**spec)),
    "worker": lambda **spec: worker_pod(order(**spec), 1, attempt=2),
}


@pytest.mark.parametrize("role", PODS)
def test_every_pod_meets_the_restricted_pod_security_level(role: str) -> None:
    pod = PODS[role]()

    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert context["runAsUser"] > 0
    kinds = {kind for volume in pod["spec"]["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "secret", "persistentVolumeClaim", "projected", "downwardAPI", "csi"}


@pytest.mark.parametrize("role", PODS)
def test_no_pod_can_talk_to_the_api_server(role: str) -> None:
    assert PODS[role]()["spec"]["automountServiceAccountToken"] is False
    assert PODS[role]()["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("role", PODS)
def test_every_container_has_requests_and_limits_of_cpu_and_memory(role: str) -> None:
    for container in containers(PODS[role]()):
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}


@pytest.mark.parametrize("role", PODS)
def test_the_trusted_process_is_a_native_sidecar_with_a_user_of_its_own(role: str) -> None:
    trusted, user_code = containers(PODS[role]())

    assert trusted["restartPolicy"] == "Always"
    assert "restartPolicy" not in user_code
    assert trusted["securityContext"]["runAsUser"] != user_code["securityContext"]["runAsUser"]


@pytest.mark.parametrize("role", PODS)
def test_every_mount_has_its_volume_and_no_volume_is_shared_but_sockets_log_and_script(role: str) -> None:
    pod = PODS[role]()
    volumes = [volume["name"] for volume in pod["spec"]["volumes"]]
    mounts = [[mount["name"] for mount in container["volumeMounts"]] for container in containers(pod)]

    assert len(set(volumes)) == len(volumes)
    assert set(mounts[0]) | set(mounts[1]) == set(volumes)
    assert set(mounts[0]) & set(mounts[1]) == {"loadstone-run", "loadstone-log", "loadstone-script"}


@pytest.mark.parametrize("role", PODS)
def test_a_pod_that_was_made_is_read_back_as_what_it_is(role: str) -> None:
    pod = PODS[role]()
    view = read_pod(pod)

    assert (view.role, view.run, owner_of(pod)) == (role, 3, "0a1b2c3d-1111")
    assert (view.worker, view.attempt, view.epoch) == ((0, 1, 1) if role == "master" else (1, 2, 0))


def test_a_worker_finds_its_master_by_the_service_that_selects_it() -> None:
    service, master, worker = objects.service(order()), PODS["master"](), PODS["worker"]()
    told = env(worker["spec"]["initContainers"][0])

    assert service["spec"]["selector"].items() <= master["metadata"]["labels"].items()
    assert told["LOADSTONE_MASTER"] == f"{service['metadata']['name']}.shop.svc:8650"
    assert told["LOADSTONE_RUN_UID"] == "0a1b2c3d-1111/3"
    assert not service["spec"]["selector"].items() <= worker["metadata"]["labels"].items()


def test_the_mounted_files_have_the_digest_of_the_plan() -> None:
    made = order()
    secret = objects.secret(made)
    (volume,) = (
        each for each in worker_pod(made, 0, attempt=1)["spec"]["volumes"] if each["name"] == "loadstone-script"
    )
    mounted = {item["path"]: base64.b64decode(secret["data"][item["key"]]) for item in volume["secret"]["items"]}

    assert set(mounted) == {"test.py", "lib/pages.py"}
    assert files_digest(mounted) == made.plan.script.digest
    assert secret["immutable"] is True


def test_the_secret_holds_the_plan_that_the_master_reads() -> None:
    made = order()

    assert RunPlan.from_json(base64.b64decode(objects.secret(made)["data"]["run.json"]).decode()) == made.plan


def test_a_script_that_leaves_the_plan_no_room_is_refused_with_both_sizes_before_anything_is_made() -> None:
    small = order()
    plan = len(small.plan.to_json())
    full = replace(small, files={"test.py": b"x" * (2**20 - plan)})
    assert sum(len(base64.b64decode(text)) for text in objects.secret(full)["data"].values()) == 2**20

    large = replace(small, files={"test.py": b"x" * (2**20 - plan), "rows.csv": b"1"})
    cluster = KubernetesCluster(None, ManualClock(), None, namespaces=(), instance="pod")  # type: ignore[arg-type]  # nothing is asked of them
    with pytest.raises(CreationFailed) as refused:
        asyncio.run(cluster.make_children(large, 2))
    problem = refused.value.problem
    assert (problem.reason, problem.is_fatal, refused.value.pods) == (Reason.SPEC_INVALID, True, [])
    sizes = f"1,048,577 bytes, {2**20 - plan + 1:,} of the script's files and {plan:,} of the run's plan"
    assert sizes in problem.message


def test_a_users_environment_reaches_the_script_and_not_the_trusted_process() -> None:
    spec = {"env": [{"name": "TOKEN", "value": "t"}], "envFrom": [{"secretRef": {"name": "shop"}}]}
    for make in PODS.values():
        trusted, user_code = containers(make(**spec))
        assert env(user_code)["TOKEN"] == "t"
        assert user_code["envFrom"] == [{"secretRef": {"name": "shop"}}]
        assert "TOKEN" not in env(trusted)
        assert "envFrom" not in trusted


@pytest.mark.promise("log-secrets")
def test_the_launcher_is_told_which_variables_come_from_secrets() -> None:
    spec = {
        "env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}},
            {"name": "PAGE", "value": "front"},
        ],
        "envFrom": [{"secretRef": {"name": "shop"}}, {"prefix": "P_", "secretRef": {"name": "shop"}}],
    }
    told = env(PODS["worker"](**spec)["spec"]["containers"][0])
    plain = env(PODS["worker"](env=[{"name": "PAGE", "value": "front"}])["spec"]["containers"][0])

    assert json.loads(told["LOADSTONE_SECRETS"]) == ["TOKEN"]
    assert json.loads(told["LOADSTONE_SECRET_PREFIXES"]) == ["*", "P_"]
    assert json.loads(told["LOADSTONE_NO_SECRETS"]) == ["PAGE"]
    assert not [name for name in plain if "SECRET" in name]


def test_the_log_waits_on_a_disk_that_both_containers_share() -> None:
    for make in PODS.values():
        pod = make()
        for container in containers(pod):
            assert {"name": "loadstone-log", "mountPath": "/var/log/loadstone"} in container["volumeMounts"]
            assert env(container)["LOADSTONE_LOG_DIR"] == "/var/log/loadstone"
        assert {"name": "loadstone-log", "emptyDir": {"sizeLimit": "128Mi"}} in pod["spec"]["volumes"]


TEMPLATE = {
    "metadata": {"labels": {"team": "shop", "app.kubernetes.io/name": "mine"}, "annotations": {"a": "b"}},
    "spec": {
        "nodeSelector": {"pool": "load"},
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "mine"}],
        "affinity": {"podAntiAffinity": {}},
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
    "resources": {"limits": {"cpu": "3", "memory": "1Gi"}},
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
}


def test_a_template_reaches_the_worker_and_what_the_master_needs_of_it_the_master() -> None:
    worker = PODS["worker"](workers={"replicas": 2, "template": TEMPLATE})
    master = PODS["master"](workers={"replicas": 2, "template": TEMPLATE})

    for pod in (worker, master):
        assert pod["spec"]["nodeSelector"] == {"pool": "load"}
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}, {"name": "mine"}]
        assert {"name": "data", "mountPath": "/data"} in pod["spec"]["containers"][0]["volumeMounts"]
        assert pod["metadata"]["labels"]["team"] == "shop"
        assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "loadstone"
        assert pod["metadata"]["annotations"]["a"] == "b"
    assert worker["spec"]["affinity"] == {"podAntiAffinity": {}}
    assert "affinity" not in master["spec"]
    assert worker["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "3", "memory": "1Gi"}
    assert env(worker["spec"]["containers"][0])["LOADSTONE_ENGINES"] == "3"


def test_a_script_in_the_image_needs_no_mount() -> None:
    source = {"image": {"path": "/app/tests/shop.py"}}
    pod = PODS["worker"](source=source)
    told = env(pod["spec"]["containers"][0])

    assert (told["LOADSTONE_SCRIPT_DIR"], told["LOADSTONE_ENTRYPOINT"]) == ("/app/tests", "shop.py")
    assert "loadstone-script" not in [volume["name"] for volume in pod["spec"]["volumes"]]
    assert list(objects.secret(order(source=source))["data"]) == ["run.json"]


def test_a_config_map_gives_its_keys_or_the_chosen_ones() -> None:
    loadtest = admit(document(source={"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}))
    held = {"data": {"shop.py": "pass"}, "binaryData": {"rows.bin": base64.b64encode(b"\x00\xff").decode()}}

    assert script_files(loadtest, held) == {"shop.py": b"pass", "rows.bin": b"\x00\xff"}
    items = {"name": "scripts", "items": [{"key": "shop.py", "path": "a/b.py"}]}
    chosen = admit(document(source={"configMap": items, "entrypoint": "a/b.py"}))
    assert script_files(chosen, held) == {"a/b.py": b"pass"}


KEYS = [{"key": "shop.py", "path": "shop.py"}]


@pytest.mark.parametrize(
    ("source", "held", "words"),
    [
        ({"name": "scripts"}, None, ["scripts", "does not exist"]),
        ({"name": "scripts", "items": KEYS}, {"data": {"other.py": ""}}, ["scripts", "no key shop.py", "other.py"]),
        ({"name": "scripts"}, {"data": {"other.py": ""}}, ["scripts", "no file shop.py", "other.py"]),
    ],
)
def test_what_is_missing_of_a_config_map_is_named(
    source: dict[str, Any], held: dict[str, Any] | None, words: list[str]
) -> None:
    loadtest = admit(document(source={"configMap": source, "entrypoint": "shop.py"}))

    with pytest.raises(SourceMissing) as missing:
        script_files(loadtest, held)
    assert all(word in str(missing.value) for word in words), missing.value


def test_a_report_belongs_to_its_loadtest() -> None:
    made = objects.report(LoadTestView("shop", "checkout", "uid-1", 1), 4, b"gzip", gzip_log=b"log")

    assert owner_of(made) == "uid-1"
    held = {key: base64.b64decode(content) for key, content in made["binaryData"].items()}
    assert held == {"report.json.gz": b"gzip", "log.txt.gz": b"log"}
    silent = objects.report(LoadTestView("shop", "checkout", "uid-1", 1), 4, b"gzip", gzip_log=b"")
    assert list(silent["binaryData"]) == ["report.json.gz"]
    assert json.dumps(made)


def test_every_child_belongs_to_the_loadtest_and_may_be_evicted() -> None:
    made = order()
    for child in (objects.secret(made), objects.service(made), master_pod(made), worker_pod(made, 0, attempt=1)):
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False
        assert child["metadata"]["labels"][naming.MANAGED_BY] == "loadstone"
        assert child["metadata"]["namespace"] == "shop"


def test_a_master_lets_platforms_in_only_where_the_spec_names_a_token() -> None:
    spec = {"control": {"tokenSecret": {"name": "platform"}}}
    (master, _), (closed, _) = containers(PODS["master"](**spec)), containers(PODS["master"]())

    token = {"secretKeyRef": {"name": "platform", "key": "token"}}
    assert env(master)["LOADSTONE_CONTROL_TOKEN"] == token
    assert {each["containerPort"] for each in master["ports"]} - {
        each["containerPort"] for each in closed["ports"]
    } == {
        naming.PORT_CONTROL,
        naming.PORT_CONTROL_GRPC,
    }
    assert [each["port"] for each in objects.service(order(**spec))["spec"]["ports"]] == [8650, 8653, 8654]
    assert [each["port"] for each in objects.service(order())["spec"]["ports"]] == [8650]
    # Neither an engine nor a worker sees the token, and the plan that pods mount does not hold it.
    others = [containers(PODS["master"](**spec))[1], *containers(PODS["worker"](**spec)), closed]
    assert not any(name.startswith("LOADSTONE_CONTROL") for other in others for name in env(other))
    assert "platform" not in order(**spec).plan.to_json()


# Who shows what to whom


@pytest.mark.promise("keys-unseen")
@pytest.mark.parametrize("role", PODS)
def test_certificate_and_key_are_mounted_into_the_trusted_container_and_no_other(role: str) -> None:
    signed = order().signed_by("a1b2")
    pod = master_pod(signed) if role == "master" else worker_pod(signed, 1, attempt=2)
    owner = "master" if role == "master" else "worker-1"
    (trusted,), (user_code,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "loadstone-tls")

    (mount,) = (each for each in trusted["volumeMounts"] if each["name"] == "loadstone-tls")
    assert mount["readOnly"]
    assert mount["mountPath"] == env(trusted)["LOADSTONE_TLS_DIR"]
    assert "loadstone-tls" not in {each["name"] for each in user_code["volumeMounts"]}
    assert "LOADSTONE_TLS_DIR" not in env(user_code)
    assert volume["secret"]["defaultMode"] == 0o400
    items = {each["key"]: each["path"] for each in volume["secret"]["items"]}
    assert items == {"ca.crt": "ca.crt", f"{owner}.crt": "tls.crt", f"{owner}.key": "tls.key"}
    assert read_pod(pod).authority == "a1b2"


def test_a_run_without_tls_mounts_nothing_and_says_so_to_its_master() -> None:
    plain = order(transport={"tls": "Disabled"})
    for pod in (master_pod(plain), worker_pod(plain, 0, attempt=1)):
        assert "loadstone-tls" not in {each["name"] for each in pod["spec"]["volumes"]}
        assert not any("LOADSTONE_TLS_DIR" in env(each) for each in containers(pod))
        assert read_pod(pod).authority == ""
    assert plain.plan.tls is Tls.DISABLED
    assert RunPlan.from_json(plain.plan.to_json()) == plain.plan


def test_a_run_that_has_pods_goes_on_as_it_began_whatever_its_spec_says_since() -> None:
    assert order(transport={"tls": "Disabled"}).signed_by("a1b2").plan.tls is Tls.MUTUAL
    assert order().signed_by("").plan.tls is Tls.DISABLED


def test_the_certificates_of_a_run_are_in_secrets_that_nobody_can_change_and_that_hold_no_more_than_fits() -> None:
    signed = order().signed_by("a1b2")
    (small,) = objects.tls_secrets(signed, SIGNED)
    assert small["immutable"]
    assert small["metadata"]["name"] == objects.tls_secret_name(signed)
    workers = {f"worker-{index}.{kind}" for index in range(2) for kind in ("crt", "key")}
    assert set(small["data"]) == {"ca.crt", "master.crt", "master.key", *workers}

    worker = Signed(bytes(600), bytes(241))
    signed = order(load={"users": 5_000, "duration": "5s"}, workers={"replicas": 5_000}).signed_by("a1b2")
    secrets = objects.tls_secrets(signed, RunCredentials("a1b2", bytes(480), worker, (worker,) * 5_000))
    sizes = [sum(len(base64.b64decode(each)) for each in secret["data"].values()) for secret in secrets]
    assert max(sizes) < 2**20
    by_name = {secret["metadata"]["name"]: secret["data"] for secret in secrets}
    assert len(by_name) == len(secrets)
    for index in (0, 499, 500, 4_999):
        held = by_name[objects.tls_secret_name(signed, worker=index)]
        assert {"ca.crt", f"worker-{index}.crt", f"worker-{index}.key"} <= set(held)


@pytest.mark.promise("keys-unseen", "live-replicas")
def test_a_worker_that_a_run_was_not_planned_with_mounts_a_secret_of_its_own() -> None:
    signed = order().signed_by("a1b2")
    secret = objects.worker_tls_secret(signed, 2, Pems(b"ca", b"cert", b"key"))
    assert secret["immutable"]
    assert {key: base64.b64decode(held) for key, held in secret["data"].items()} == {
        "ca.crt": b"ca",
        "worker-2.crt": b"cert",
        "worker-2.key": b"key",
    }
    names = [objects.tls_secret_name(signed, worker=index) for index in (0, 1, 2, 3)]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    (volume,) = (
        each for each in worker_pod(signed, 2, attempt=1)["spec"]["volumes"] if each["name"] == "loadstone-tls"
    )
    assert volume["secret"]["secretName"] == secret["metadata"]["name"] == names[2]
    assert {each["key"] for each in volume["secret"]["items"]} == set(secret["data"])
    again = worker_pod(signed, 2, attempt=2)["spec"]["volumes"]
    assert volume in again


@pytest.mark.promise("live-replicas")
def test_a_master_is_told_how_many_workers_are_wanted_and_how_many_there_can_have_been() -> None:
    first = env(PODS["master"]()["spec"]["initContainers"][0])
    assert (first["LOADSTONE_WORKERS"], first["LOADSTONE_WORKERS_MADE"]) == ("0", "0")

    later = replace(order(), past=Past(workers=3, workers_made=5, attempts={4: 2}))
    told = env(master_pod(later)["spec"]["initContainers"][0])
    assert (told["LOADSTONE_WORKERS"], told["LOADSTONE_WORKERS_MADE"], told["LOADSTONE_ATTEMPTS"]) == ("3", "5", "4:2")


@pytest.mark.promise("no-token")
@pytest.mark.parametrize("role", PODS)
def test_no_pod_of_a_run_gets_a_token_of_the_api(role: str) -> None:
    pod = PODS[role]()["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert not any("projected" in each for each in pod["volumes"])


@pytest.mark.parametrize(("role", "seconds"), [("worker", 25), ("master", 30)])
def test_a_pod_that_is_deleted_has_the_time_to_end_that_the_stop_table_gives_it(role: str, seconds: int) -> None:
    assert PODS[role]()["spec"]["terminationGracePeriodSeconds"] == seconds


@pytest.mark.promise("network-policy")
def test_the_ports_of_a_run_are_open_to_its_workers_the_operator_and_who_scrapes() -> None:
    operator, prometheus = {"podSelector": {"matchLabels": {"app": "operator"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}
    policy = objects.network_policy(order(), Access((operator,), (prometheus,)))
    labels = [master_pod(order())["metadata"]["labels"], worker_pod(order(), 0, attempt=1)["metadata"]["labels"]]

    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= each.items() for each in labels)
    grpc, metrics = policy["spec"]["ingress"]
    workers, other = grpc["from"]
    assert [workers["podSelector"]["matchLabels"].items() <= each.items() for each in labels] == [False, True]
    assert other == operator
    assert (grpc["ports"], metrics["ports"]) == (
        [{"protocol": "TCP", "port": naming.PORT_GRPC}],
        [{"protocol": "TCP", "port": naming.PORT_METRICS}],
    )
    assert metrics["from"] == [prometheus]
    # An empty `from` would let everybody in.
    (only,) = objects.network_policy(order(), Access((operator,), ()))["spec"]["ingress"]
    assert only["from"] == [workers, operator]
    # The ports of the control API are for whoever knows the token.
    watched = order(control={"tokenSecret": {"name": "platform"}})
    *_, platforms = objects.network_policy(watched, Access((operator,), (prometheus,)))["spec"]["ingress"]
    assert "from" not in platforms
    assert [each["port"] for each in platforms["ports"]] == [naming.PORT_CONTROL, naming.PORT_CONTROL_GRPC]

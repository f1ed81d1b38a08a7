"""Make the pods of a run: a master beside the director, agents beside engines. Pure.

The trusted process is a native sidecar: it starts first, survives the user's code, and is asked to leave last. Every
pod passes the restricted pod security level.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec.model import MasterOnLoss
from loadstone_core.units import format_duration
from loadstone_operator import naming
from loadstone_operator.manifests import resources
from loadstone_operator.manifests.objects import AUTHORITY_KEY, SCRIPT_KEY, owner_reference, tls_secret_name
from loadstone_protocol.identity import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_core.spec.model import TokenSecret
    from loadstone_operator.manifests.order import RunOrder

USER_TRUSTED: Final = 10001
USER_ENGINE: Final = 10002
GROUP: Final = 10001
ANY_NAME: Final = "*"

SOCKET_DIRECTORY: Final = "/run/loadstone"
LOG_DIRECTORY: Final = "/var/log/loadstone"
STATE_DIRECTORY: Final = "/var/lib/loadstone"
PLAN_DIRECTORY: Final = "/etc/loadstone"
TLS_DIRECTORY: Final = "/etc/loadstone-tls"

# What an engine needs to finish, and an agent to hand over its last numbers; both share one grace period.
WORKER_GRACE_SECONDS: Final = 25
MASTER_GRACE_SECONDS: Final = 30

_ANNOTATIONS: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
_SCRAPED: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(naming.PORT_METRICS),
    "prometheus.io/path": "/metrics",
}


def master_pod(order: RunOrder) -> dict[str, Any]:
    """Return the pod with master and director."""
    labels = {
        naming.LABEL_ROLE: naming.ROLE_MASTER,
        naming.LABEL_EPOCH: str(order.epoch),
        naming.LABEL_SOLE: str(order.past.is_sole).lower(),
    }
    trusted = _trusted(
        order,
        naming.ROLE_MASTER,
        environment={
            "RUN_FILE": f"{PLAN_DIRECTORY}/run.json",
            "LISTEN": f"0.0.0.0:{naming.PORT_GRPC}",
            "STATE_DIR": STATE_DIRECTORY,
            "EPOCH": str(order.epoch),
            "IS_SOLE": str(int(order.past.is_sole)),
            "HAS_BEGUN": str(int(order.past.has_begun)),
            "ATTEMPTS": ",".join(f"{worker}:{attempt}" for worker, attempt in sorted(order.past.attempts.items())),
            "WORKERS": str(order.past.workers),
            "WORKERS_MADE": str(order.past.workers_made),
            "HAS_SUCCESSOR": str(int(order.loadtest.spec.master_on_loss is MasterOnLoss.RESTART)),
        },
        limits=resources.MASTER,
    )
    trusted["ports"].insert(0, {"name": "grpc", "containerPort": naming.PORT_GRPC})
    _open_control(trusted, order.loadtest.spec.control)
    trusted["volumeMounts"] += [
        {"name": "loadstone-plan", "mountPath": PLAN_DIRECTORY, "readOnly": True},
        {"name": "loadstone-state", "mountPath": STATE_DIRECTORY},
    ]
    user_code = _user_code(order, "director", engines=1, limits=resources.DIRECTOR)
    pod = _pod(order, naming.ROLE_MASTER, labels, containers=(trusted, user_code))
    pod["metadata"]["name"] = naming.master_pod(order.loadtest.name, order.run, epoch=order.epoch)
    pod["spec"]["terminationGracePeriodSeconds"] = MASTER_GRACE_SECONDS
    pod["spec"]["volumes"] += [
        {
            "name": "loadstone-plan",
            "secret": {
                "secretName": _secret_name(order),
                "defaultMode": 0o440,
                "items": [{"key": "run.json", "path": "run.json"}],
            },
        },
        {"name": "loadstone-state", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    _identify(order, pod, naming.ROLE_MASTER, worker=0)
    return pod


def worker_pod(order: RunOrder, index: int, *, attempt: int) -> dict[str, Any]:
    """Return the pod with an agent and its engines."""
    name = naming.worker_pod(order.loadtest.name, order.run, index=index, attempt=attempt)
    service = naming.service(order.loadtest.name, order.run)
    labels = {
        naming.LABEL_ROLE: naming.ROLE_WORKER,
        naming.LABEL_WORKER: str(index),
        naming.LABEL_ATTEMPT: str(attempt),
    }
    trusted = _trusted(
        order,
        "agent",
        environment={
            "RUN_UID": order.plan.run.uid,
            "EPOCH": str(order.epoch),
            "WORKER": str(index),
            "ATTEMPT": str(attempt),
            "POD": name,
            "MASTER": f"{service}.{order.loadtest.namespace}.svc:{naming.PORT_GRPC}",
            "ENTRYPOINT": order.plan.script.entrypoint,
            "ENGINES": str(order.plan.engines_per_worker),
        },
        limits=resources.AGENT,
    )
    user_code = _user_code(order, "engine", engines=order.plan.engines_per_worker, limits=order.resources)
    pod = _pod(order, naming.ROLE_WORKER, labels, containers=(trusted, user_code))
    pod["metadata"]["name"] = name
    pod["spec"]["terminationGracePeriodSeconds"] = WORKER_GRACE_SECONDS
    _identify(order, pod, f"{naming.ROLE_WORKER}-{index}", worker=index)
    template = order.loadtest.spec.workers.template.get("spec") or {}
    if "affinity" in template:
        pod["spec"]["affinity"] = template["affinity"]
    pod["spec"]["topologySpreadConstraints"] = template.get("topologySpreadConstraints") or [_spread(order)]
    return pod


def _pod(
    order: RunOrder, role: str, labels: Mapping[str, str], *, containers: tuple[dict[str, Any], dict[str, Any]]
) -> dict[str, Any]:
    loadtest = order.loadtest
    template = loadtest.spec.workers.template
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    trusted, user_code = containers
    pod_spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            # The sandbox has no container's user, and takes no group without one.
            "runAsUser": USER_TRUSTED,
            "runAsGroup": GROUP,
            "fsGroup": GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [{**trusted, "restartPolicy": "Always"}],
        "containers": [user_code],
        "volumes": [*_volumes(order, trusted["name"], user_code["name"]), *spec.get("volumes", ())],
    }
    # Whatever lets a worker run on a node must let its master run there too; the rest is for workers only.
    for field in ("nodeSelector", "tolerations", "priorityClassName"):
        if field in spec:
            pod_spec[field] = spec[field]
    secrets = [*({"name": name} for name in order.runner.pull_secrets), *spec.get("imagePullSecrets", ())]
    if secrets:
        pod_spec["imagePullSecrets"] = secrets
    own = naming.child_labels(loadtest.name, order.uid, run=order.run, component=role)
    own[naming.LABEL_LEASE] = format_duration(order.plan.lease_ns)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": loadtest.namespace,
            "labels": {**metadata.get("labels", {}), **own, **labels},
            "annotations": {**_ANNOTATIONS, **metadata.get("annotations", {}), **_SCRAPED},
            "ownerReferences": [owner_reference(loadtest.name, order.uid)],
        },
        "spec": pod_spec,
    }


def _identify(order: RunOrder, pod: dict[str, Any], owner: str, *, worker: int) -> None:
    """Give the trusted container, and no other, what it shows its peers. Only its group may read it (the fsGroup)."""
    if not order.authority:
        return
    pod["metadata"]["labels"][naming.LABEL_AUTHORITY] = order.authority
    (trusted,) = pod["spec"]["initContainers"]
    trusted["env"].append({"name": "LOADSTONE_TLS_DIR", "value": TLS_DIRECTORY})
    trusted["volumeMounts"].append({"name": "loadstone-tls", "mountPath": TLS_DIRECTORY, "readOnly": True})
    files = {AUTHORITY_KEY: AUTHORITY_FILE, f"{owner}.crt": CERTIFICATE_FILE, f"{owner}.key": KEY_FILE}
    pod["spec"]["volumes"].append(
        {
            "name": "loadstone-tls",
            "secret": {
                "secretName": tls_secret_name(order, worker=worker),
                "defaultMode": 0o400,
                "items": [{"key": key, "path": path} for key, path in files.items()],
            },
        }
    )


def _trusted(
    order: RunOrder, role: str, *, environment: Mapping[str, str], limits: Mapping[str, Any]
) -> dict[str, Any]:
    told = {
        **environment,
        "SCRIPT_DIR": order.plan.script.directory,
        "METRICS": f"0.0.0.0:{naming.PORT_METRICS}",
        "SOCKET_DIR": SOCKET_DIRECTORY,
    }
    container = _container(order, role, user=USER_TRUSTED, environment=told, limits=limits)
    container["command"] = ["python", "-m", "loadstone_runner", role]
    container["ports"] = [{"name": "metrics", "containerPort": naming.PORT_METRICS}]
    return container


def _open_control(master: dict[str, Any], token: TokenSecret | None) -> None:
    """Let platforms in who know the token, if the spec names one. Only the kubelet ever reads the Secret."""
    if token is None:
        return
    ports = {"CONTROL": naming.PORT_CONTROL, "CONTROL_GRPC": naming.PORT_CONTROL_GRPC}
    master["env"] += [{"name": f"LOADSTONE_{name}", "value": f"0.0.0.0:{port}"} for name, port in ports.items()]
    reference = {"name": token.name, "key": token.key}
    master["env"].append({"name": "LOADSTONE_CONTROL_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    names = ("control", "control-grpc")
    master["ports"] += [{"name": name, "containerPort": port} for name, port in zip(names, ports.values(), strict=True)]


def _user_code(order: RunOrder, role: str, *, engines: int, limits: Mapping[str, Any]) -> dict[str, Any]:
    spec = order.loadtest.spec
    told = {
        "SCRIPT_DIR": order.plan.script.directory,
        "ENTRYPOINT": order.plan.script.entrypoint,
        "TARGET": order.plan.target or "",
        "SOCKET_DIR": SOCKET_DIRECTORY,
        "ENGINES": str(engines),
        "ENGINE_ROLE": role,
    }
    container = _container(order, role, user=USER_ENGINE, environment=told, limits=limits)
    container["command"] = ["python", "-m", "loadstone_runner", "launcher"]
    container["env"] += _secrets(spec.env, spec.env_from)
    container["env"] = [*spec.env, {"name": "HOME", "value": "/tmp"}, *container["env"]]  # noqa: S108 (an emptyDir)
    if spec.env_from:
        container["envFrom"] = list(spec.env_from)
    container["volumeMounts"] += spec.workers.template.get("volumeMounts", [])
    return container


def _secrets(env: Sequence[Mapping[str, Any]], env_from: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return how the launcher knows what it must keep out of logs: the names of variables that come from Secrets.

    Of a whole Secret only the prefix is known here; without one, whatever is not known to be something else.
    """
    names = [each["name"] for each in env if "secretKeyRef" in (each.get("valueFrom") or {})]
    prefixes = [each.get("prefix") or ANY_NAME for each in env_from if "secretRef" in each]
    others = [each["name"] for each in env if each["name"] not in names] if prefixes else []
    told = {"SECRETS": names, "SECRET_PREFIXES": prefixes, "NO_SECRETS": others}
    return [{"name": f"LOADSTONE_{key}", "value": json.dumps(value)} for key, value in told.items() if value]


def _container(
    order: RunOrder, name: str, *, user: int, environment: Mapping[str, str], limits: Mapping[str, Any]
) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [
        {"name": "loadstone-run", "mountPath": SOCKET_DIRECTORY},
        {"name": "loadstone-log", "mountPath": LOG_DIRECTORY},
        {"name": f"loadstone-tmp-{name}", "mountPath": "/tmp"},  # noqa: S108 (an emptyDir)
    ]
    if order.files:
        mounts.append({"name": "loadstone-script", "mountPath": order.plan.script.directory, "readOnly": True})
    return {
        "name": name,
        "image": order.image,
        "imagePullPolicy": order.pull_policy,
        "env": [
            {"name": f"LOADSTONE_{key}", "value": value}
            for key, value in {**environment, "LOG_DIR": LOG_DIRECTORY}.items()
        ],
        "resources": {kind: dict(amounts) for kind, amounts in limits.items()},
        "securityContext": {
            "runAsUser": user,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }


def _volumes(order: RunOrder, *containers: str) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "loadstone-run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        # On disk and twice of what a launcher holds, as an evicted pod would lose more than lines.
        {"name": "loadstone-log", "emptyDir": {"sizeLimit": "128Mi"}},
        # One each, so that a script cannot reach into the files of the process that watches it.
        *({"name": f"loadstone-tmp-{name}", "emptyDir": {"sizeLimit": "1Gi"}} for name in containers),
    ]
    if order.files:
        items = [{"key": f"{SCRIPT_KEY}{number}", "path": path} for number, path in enumerate(sorted(order.files))]
        script = {"secretName": _secret_name(order), "defaultMode": 0o440, "items": items}
        volumes.append({"name": "loadstone-script", "secret": script})
    return volumes


def _spread(order: RunOrder) -> dict[str, Any]:
    """Return the wish that workers be on different nodes, which never keeps one from starting."""
    mine = {naming.LABEL_UID: order.uid, naming.LABEL_RUN: str(order.run), naming.LABEL_ROLE: naming.ROLE_WORKER}
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": mine},
    }


def _secret_name(order: RunOrder) -> str:
    return naming.secret(order.loadtest.name, order.run, uid=order.uid)

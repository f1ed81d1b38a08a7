"""Make the objects of a run that are no pods: Secrets, Service, NetworkPolicy, ConfigMap with its report. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import UserError
from loadstone_operator import naming
from loadstone_operator.trust.issued import Signed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_operator.manifests.order import Access, RunOrder
    from loadstone_operator.observation import LoadTestView
    from loadstone_operator.trust.issued import RunCredentials
    from loadstone_protocol.identity import Pems

SCRIPT_KEY: Final = "s"
AUTHORITY_KEY: Final = "ca.crt"
REPORT_KEY: Final = "report.json.gz"
LOG_KEY: Final = "log.txt.gz"
# What the API server takes of all values of a Secret together.
SECRET_MOST_BYTES: Final = 1024 * 1024
# Together with the report, of at most 512 KiB, well below what a ConfigMap takes, and in base64 what etcd does.
LOG_MOST_BYTES: Final = 256 * 1024


class SecretTooLarge(UserError):  # noqa: N818 (the user's to mend)
    """A run's script and plan have no room in one Secret; the message says what to do."""


def owner_reference(name: str, uid: str) -> dict[str, Any]:
    """Return the reference that makes the LoadTest the controller of a child.

    Without a controller a drain refuses to evict a pod. `blockOwnerDeletion` would need a right on finalizers.
    """
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def secret(order: RunOrder) -> dict[str, Any]:
    """Return the immutable Secret with the run's plan and script; keys are numbered, for a path is no legal key.

    Raises:
        SecretTooLarge: the API server would not take it.
    """
    name = naming.secret(order.loadtest.name, order.run, uid=order.uid)
    data = {f"{SCRIPT_KEY}{number}": order.files[path] for number, path in enumerate(sorted(order.files))}
    data["run.json"] = plan = order.plan.to_json().encode()
    total = sum(map(len, data.values()))
    if total > SECRET_MOST_BYTES:
        raise SecretTooLarge(
            f"The run's Secret {name} would have {total:,} bytes, {total - len(plan):,} of the script's files and "
            f"{len(plan):,} of the run's plan; at most {SECRET_MOST_BYTES:,} are possible. Make the script's files "
            "smaller, have them in the image (spec.image and spec.source.image), or ask for fewer scenarios and stages."
        )
    return _secret(order, name, "script", data=data)


def tls_secrets(order: RunOrder, credentials: RunCredentials) -> list[dict[str, Any]]:
    """Return the immutable Secrets with what master and agents show each other; each holds the authority, too."""
    secrets = []
    for first in range(0, len(credentials.workers), naming.TLS_WORKERS):
        data = {AUTHORITY_KEY: credentials.authority_pem}
        if first == 0:
            data |= _pair(naming.ROLE_MASTER, credentials.master)
        for worker in range(first, min(first + naming.TLS_WORKERS, len(credentials.workers))):
            data |= _pair(f"{naming.ROLE_WORKER}-{worker}", credentials.workers[worker])
        secrets.append(_secret(order, tls_secret_name(order, worker=first), "tls", data=data))
    return secrets


def worker_tls_secret(order: RunOrder, worker: int, pems: Pems) -> dict[str, Any]:
    """Return the immutable Secret with what the agent of a worker shows that was added to the run."""
    signed = _pair(f"{naming.ROLE_WORKER}-{worker}", Signed(pems.certificate, pems.key))
    data = {AUTHORITY_KEY: pems.authority, **signed}
    return _secret(order, tls_secret_name(order, worker=worker), "tls", data=data)


def tls_secret_name(order: RunOrder, *, worker: int = 0) -> str:
    """Return the name of the Secret in which a worker's certificate is; the master's is with worker 0's."""
    name = naming.tls_secret if is_signed_with_the_run(order, worker) else naming.worker_tls_secret
    return name(order.loadtest.name, order.run, uid=order.uid, authority=order.authority, worker=worker)


def is_signed_with_the_run(order: RunOrder, worker: int) -> bool:
    """Say whether a worker's certificate was made at the start of the run, which was planned with it."""
    return worker < max(1, order.plan.workers)


def service(order: RunOrder) -> dict[str, Any]:
    """Return the headless Service that leads workers to their master before it is ready."""
    selector = {
        naming.LABEL_UID: order.uid,
        naming.LABEL_RUN: str(order.run),
        naming.LABEL_ROLE: naming.ROLE_MASTER,
        naming.LABEL_EPOCH: str(order.epoch),
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(order, naming.service(order.loadtest.name, order.run), naming.ROLE_MASTER),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": _ports(order),
        },
    }


def _ports(order: RunOrder) -> list[dict[str, Any]]:
    ports = [("grpc", naming.PORT_GRPC, "grpc")]
    if order.loadtest.spec.control is not None:
        ports += [("control", naming.PORT_CONTROL, "http"), ("control-grpc", naming.PORT_CONTROL_GRPC, "grpc")]
    return [{"name": name, "port": port, "targetPort": port, "appProtocol": kind} for name, port, kind in ports]


def network_policy(order: RunOrder, access: Access) -> dict[str, Any]:
    """Return the NetworkPolicy that lets in whom a run needs: its workers, the operator, and who scrapes metrics."""
    run = {naming.LABEL_UID: order.uid, naming.LABEL_RUN: str(order.run)}
    workers = {"podSelector": {"matchLabels": {**run, naming.LABEL_ROLE: naming.ROLE_WORKER}}}
    ways = ((naming.PORT_GRPC, (workers, *access.operator)), (naming.PORT_METRICS, access.metrics))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(order, naming.service(order.loadtest.name, order.run), "network"),
        "spec": {
            "podSelector": {"matchLabels": run},
            "policyTypes": ["Ingress"],
            # An empty list of peers would mean everybody.
            "ingress": [
                *({"from": list(peers), "ports": [{"protocol": "TCP", "port": port}]} for port, peers in ways if peers),
                *_platforms(order),
            ],
        },
    }


def _platforms(order: RunOrder) -> list[dict[str, Any]]:
    """Return the rule for the ports of the control API: whoever reaches them has to say the token."""
    if order.loadtest.spec.control is None:
        return []
    ports = (naming.PORT_CONTROL, naming.PORT_CONTROL_GRPC)
    return [{"ports": [{"protocol": "TCP", "port": port} for port in ports]}]


def report(test: LoadTestView, run: int, gzip_json: bytes, *, gzip_log: bytes) -> dict[str, Any]:
    """Return the ConfigMap with the latest run's report, and the end of its log unless that is empty."""
    data = {REPORT_KEY: gzip_json} | ({LOG_KEY: gzip_log} if gzip_log else {})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.report(test.name),
            "namespace": test.namespace,
            "labels": naming.child_labels(test.name, test.uid, run=run, component="report"),
            "ownerReferences": [owner_reference(test.name, test.uid)],
        },
        "binaryData": {key: b64encode(content).decode() for key, content in data.items()},
    }


def _pair(owner: str, signed: Signed) -> dict[str, bytes]:
    return {f"{owner}.crt": signed.certificate, f"{owner}.key": signed.key}


def _secret(order: RunOrder, name: str, component: str, *, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(order, name, component),
        "type": "Opaque",
        "immutable": True,
        "data": {key: b64encode(content).decode() for key, content in data.items()},
    }


def _metadata(order: RunOrder, name: str, component: str) -> dict[str, Any]:
    loadtest = order.loadtest
    return {
        "name": name,
        "namespace": loadtest.namespace,
        "labels": naming.child_labels(loadtest.name, order.uid, run=order.run, component=component),
        "ownerReferences": [owner_reference(loadtest.name, order.uid)],
    }

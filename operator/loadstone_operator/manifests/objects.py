"""Make the objects of a run that are no pods: Secret, Service, and the ConfigMap with its report. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from loadstone_operator import naming

if TYPE_CHECKING:
    from loadstone_operator.manifests.order import RunOrder
    from loadstone_operator.observation import LoadTestView

SCRIPT_KEY: Final = "s"
REPORT_KEY: Final = "report.json.gz"
REPORT_MOST_BYTES: Final = 512 * 1024


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
    """Return the immutable Secret with the run's plan and script; keys are numbered, for a path is no legal key."""
    name = naming.secret(order.loadtest.name, order.run, uid=order.uid)
    data = {f"{SCRIPT_KEY}{number}": order.files[path] for number, path in enumerate(sorted(order.files))}
    data["run.json"] = order.plan.to_json().encode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(order, name, "script"),
        "type": "Opaque",
        "immutable": True,
        "data": {key: b64encode(content).decode() for key, content in data.items()},
    }


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


def report(test: LoadTestView, run: int, gzip_json: bytes) -> dict[str, Any]:
    """Return the ConfigMap with the latest run's report."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.report(test.name),
            "namespace": test.namespace,
            "labels": naming.child_labels(test.name, test.uid, run=run, component="report"),
            "ownerReferences": [owner_reference(test.name, test.uid)],
        },
        "binaryData": {REPORT_KEY: b64encode(gzip_json).decode()},
    }


def _metadata(order: RunOrder, name: str, component: str) -> dict[str, Any]:
    loadtest = order.loadtest
    return {
        "name": name,
        "namespace": loadtest.namespace,
        "labels": naming.child_labels(loadtest.name, order.uid, run=order.run, component=component),
        "ownerReferences": [owner_reference(loadtest.name, order.uid)],
    }

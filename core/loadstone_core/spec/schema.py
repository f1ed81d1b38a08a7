"""Render the fields as the CustomResourceDefinitions that the API server needs.

Dicts only; writing them to files is `tools/render_crd.py`'s affair.
"""

from __future__ import annotations

from typing import Any, Final, assert_never, cast

from loadstone_core.spec import defaults
from loadstone_core.spec.classes import CLASS_SPEC
from loadstone_core.spec.fields import SPEC
from loadstone_core.spec.shape import (
    QUANTITY_LONGEST,
    QUANTITY_PATTERN,
    QUANTITY_SENTENCE,
    UNSET,
    AnyNode,
    Flag,
    Free,
    Listing,
    Node,
    Quantity,
    Record,
    Table,
    Text,
    Whole,
)
from loadstone_core.spec.status import STATUS
from loadstone_core.spec.validation import NAME

_AGE: Final = ("Age", "date", ".metadata.creationTimestamp", "When it was made.")
_COLUMNS: Final = (
    ("Phase", "string", ".status.phase", "Where the run is."),
    ("Verdict", "string", ".status.verdict", "What the run means."),
    ("Run", "integer", ".status.run.number", "Number of the latest run."),
    ("Workers", "string", ".status.workers.ratio", "Connected of desired workers."),
    ("Users", "integer", ".status.progress.users", "Users that run now; after the end the most that ran."),
    ("RPS", "integer", ".status.progress.rps", "Requests in the last second; after the end the average."),
    ("P95", "string", ".status.summary.p95", "95th percentile of latency."),
    ("Errors", "string", ".status.summary.errorRate", "Share of failed requests."),
    ("Elapsed", "string", ".status.summary.elapsed", "How long load has run."),
    _AGE,
)
_WIDE_COLUMNS: Final = (
    ("Engine", "string", ".spec.engine", "Who runs the script."),
    ("Reason", "string", ".status.reason", "Why, in one word."),
    ("Message", "string", ".status.message", "What happened and what to do."),
)


def openapi(node: Node) -> dict[str, Any]:
    """Return the structural OpenAPI v3 schema of a declaration, with descriptions, defaults and CEL rules."""
    schema = {"description": node.about, **_shape(cast("AnyNode", node))}
    if node.default is not UNSET:
        schema["default"] = node.default
    rules = [{"rule": rule.cel, "message": rule.message} for rule in node.rules if rule.cel is not None]
    return schema | ({"x-kubernetes-validations": rules} if rules else {})


def _shape(node: AnyNode) -> dict[str, Any]:
    match node:
        case Text():
            return _text(node)
        case Whole():
            return _whole(node)
        case Flag():
            return {"type": "boolean"}
        case Quantity():
            return _quantity()
        case Free():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Listing():
            return _listing(node)
        case Table() | Record():
            return _mapping(node)
        case _:
            assert_never(node)


def _mapping(node: Table | Record) -> dict[str, Any]:
    if isinstance(node, Table):
        schema: dict[str, Any] = {"type": "object", "additionalProperties": openapi(node.values)}
        return schema | ({} if node.most is None else {"maxProperties": node.most})
    schema = {"type": "object", "properties": {name: openapi(one) for name, one in node.fields.items()}}
    return schema | ({"required": list(node.required)} if node.required else {})


def _text(node: Text) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if node.form:
        schema["format"] = node.form
    if node.shortest:
        schema["minLength"] = node.shortest
    if node.longest is not None:
        schema["maxLength"] = node.longest
    if node.choices:
        schema["enum"] = list(node.choices)
    return schema


def _whole(node: Whole) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "format": "int64" if node.long else "int32"}
    if node.least is not None:
        schema["minimum"] = node.least
    if node.most is not None:
        schema["maximum"] = node.most
    return schema


def _quantity() -> dict[str, Any]:
    # The form that Kubernetes' own generators give to quantities, but with a sentence instead of a bare pattern.
    either = [{"type": "integer"}, {"type": "string"}]
    claim = f"type(self) == string ? self.matches(r'^({QUANTITY_PATTERN})$') : self >= 0"
    rules = [{"rule": claim, "message": QUANTITY_SENTENCE}]
    shape = {"x-kubernetes-int-or-string": True, "anyOf": either, "maxLength": QUANTITY_LONGEST}
    return shape | {"x-kubernetes-validations": rules}


def _listing(node: Listing) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": openapi(node.items)}
    if node.fewest:
        schema["minItems"] = node.fewest
    if node.most is not None:
        schema["maxItems"] = node.most
    if node.key:
        return schema | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [node.key]}
    return schema | {"x-kubernetes-list-type": "set" if node.distinct else "atomic"}


STATUS_SCHEMA: Final = openapi(STATUS)


def loadtest_crd() -> dict[str, Any]:
    """Return the whole CustomResourceDefinition of LoadTest."""
    # `lt` is taken by other load test operators.
    return _crd(defaults.KIND, scope="Namespaced", short="ldt", version=_version())


def class_crd() -> dict[str, Any]:
    """Return the whole CustomResourceDefinition of LoadTestClass."""
    return _crd(defaults.CLASS_KIND, scope="Cluster", short="ldtc", version=_class_version())


def _crd(kind: str, *, scope: str, short: str, version: dict[str, Any]) -> dict[str, Any]:
    singular = kind.lower()
    plural = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{defaults.GROUP}",
            # Uninstalling the chart must not delete users' tests and results.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": defaults.GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                "shortNames": [short],
                "categories": ["loadtesting"],
            },
            "versions": [version],
        },
    }


def _class_version() -> dict[str, Any]:
    annotation = defaults.DEFAULT_CLASS.replace(".", "\\.")
    columns = (
        ("Default", "string", f".metadata.annotations.{annotation}", "Whether tests without className belong to it."),
        ("KillSwitch", "boolean", ".spec.killSwitch", "Whether every run of the class is killed."),
        _AGE,
    )
    root = {
        "description": "Load tests that the owners of a cluster hold together, above all to end all of them at once.",
        "type": "object",
        "required": ["spec"],
        "properties": {**_identity(defaults.CLASS_KIND), "spec": openapi(CLASS_SPEC)},
    }
    return {
        "name": defaults.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(*column) for column in columns],
        "schema": {"openAPIV3Schema": root},
    }


def _version() -> dict[str, Any]:
    return {
        "name": defaults.VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.workers.replicas",
                "statusReplicasPath": ".status.workers.connected",
                "labelSelectorPath": ".status.workers.selector",
            },
        },
        "selectableFields": [{"jsonPath": path} for path in (".status.phase", ".status.verdict", ".spec.engine")],
        "additionalPrinterColumns": [
            *(_column(*column) for column in _COLUMNS),
            *(_column(*column) | {"priority": 1} for column in _WIDE_COLUMNS),
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _column(name: str, kind: str, path: str, about: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path, "description": about}


def _identity(kind: str) -> dict[str, Any]:
    return {
        "apiVersion": {"description": f"Always {defaults.API_VERSION}.", "type": "string"},
        "kind": {"description": f"Always {kind}.", "type": "string"},
        # The API server knows metadata itself and refuses even a description here.
        "metadata": {"type": "object"},
    }


def _root() -> dict[str, Any]:
    return {
        "description": "A load test: pods run its script against the target, and the status says what it means.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            **_identity(defaults.KIND),
            "spec": openapi(SPEC),
            "status": STATUS_SCHEMA,
        },
        "x-kubernetes-validations": [{"rule": rule.cel, "message": f"metadata.name {rule.message}"} for rule in NAME],
    }

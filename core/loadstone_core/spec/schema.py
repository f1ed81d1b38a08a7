"""Render the fields as the CustomResourceDefinition that the API server needs.

Dicts only; writing them to files is `tools/render_crd.py`'s affair.
"""

from __future__ import annotations

from typing import Any, Final, assert_never, cast

from loadstone_core.spec import defaults
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

_PLURAL: Final = "loadtests"
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
    ("Age", "date", ".metadata.creationTimestamp", "When the LoadTest was made."),
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
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{_PLURAL}.{defaults.GROUP}",
            # Uninstalling the chart must not delete users' tests and results.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": defaults.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": defaults.KIND,
                "listKind": f"{defaults.KIND}List",
                "plural": _PLURAL,
                "singular": "loadtest",
                # `lt` is taken by other load test operators.
                "shortNames": ["ldt"],
                "categories": ["loadtesting"],
            },
            "versions": [_version()],
        },
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


def _root() -> dict[str, Any]:
    return {
        "description": "A load test: pods run its script against the target, and the status says what it means.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {defaults.API_VERSION}.", "type": "string"},
            "kind": {"description": f"Always {defaults.KIND}.", "type": "string"},
            # The API server knows metadata itself and refuses even a description here.
            "metadata": {"type": "object"},
            "spec": openapi(SPEC),
            "status": STATUS_SCHEMA,
        },
        "x-kubernetes-validations": [{"rule": rule.cel, "message": f"metadata.name {rule.message}"} for rule in NAME],
    }

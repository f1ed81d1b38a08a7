from typing import Any

import pytest

from loadstone_core.spec.schema import STATUS_SCHEMA, class_crd, loadtest_crd, openapi
from loadstone_core.spec.shape import Flag, Free, Listing, Node, Quantity, Record, Rule, Table, Text, Whole, matching

SILENT = Rule(message="only Python sees it", holds=bool)


@pytest.mark.parametrize(
    ("node", "schema"),
    [
        (Text(about="A."), {"type": "string"}),
        (Text(about="A.", form="date-time"), {"type": "string", "format": "date-time"}),
        (
            Text(about="A.", shortest=1, longest=9, choices=("a", "b"), default="a"),
            {"type": "string", "minLength": 1, "maxLength": 9, "enum": ["a", "b"], "default": "a"},
        ),
        (
            Text(about="A.", rules=(matching("[a]+", "must be a"), SILENT)),
            {
                "type": "string",
                "x-kubernetes-validations": [{"rule": "self.matches(r'^([a]+)$')", "message": "must be a"}],
            },
        ),
        (Text(about="A.", rules=(SILENT,)), {"type": "string"}),
        (Whole(about="A."), {"type": "integer", "format": "int32"}),
        (
            Whole(about="A.", least=0, most=5, long=True),
            {"type": "integer", "format": "int64", "minimum": 0, "maximum": 5},
        ),
        (Flag(about="A.", default=False), {"type": "boolean", "default": False}),
        (Free(about="A."), {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (
            Listing(about="A.", items=Flag(about="B.")),
            {"type": "array", "items": {"type": "boolean", "description": "B."}, "x-kubernetes-list-type": "atomic"},
        ),
        (
            Listing(about="A.", items=Flag(about="B."), fewest=1, most=2, distinct=True),
            {
                "type": "array",
                "items": {"type": "boolean", "description": "B."},
                "minItems": 1,
                "maxItems": 2,
                "x-kubernetes-list-type": "set",
            },
        ),
        (
            Listing(about="A.", items=Flag(about="B."), key="name"),
            {
                "type": "array",
                "items": {"type": "boolean", "description": "B."},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
        (
            Table(about="A.", values=Flag(about="B.")),
            {"type": "object", "additionalProperties": {"type": "boolean", "description": "B."}},
        ),
        (
            Table(about="A.", values=Flag(about="B."), most=3),
            {"type": "object", "additionalProperties": {"type": "boolean", "description": "B."}, "maxProperties": 3},
        ),
        (
            Record(about="A.", fields={"b": Flag(about="B.")}),
            {"type": "object", "properties": {"b": {"type": "boolean", "description": "B."}}},
        ),
        (
            Record(about="A.", fields={"b": Flag(about="B.")}, required=("b",)),
            {"type": "object", "properties": {"b": {"type": "boolean", "description": "B."}}, "required": ["b"]},
        ),
    ],
)
def test_a_declaration_becomes_a_structural_schema(node: Node, schema: dict[str, Any]) -> None:
    assert openapi(node) == {"description": "A."} | schema


def test_a_quantity_is_a_number_or_a_text_with_a_sentence() -> None:
    schema = openapi(Quantity(about="A."))

    assert schema["x-kubernetes-int-or-string"] is True
    assert schema["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert schema["x-kubernetes-validations"][0]["message"] == "must be a quantity such as 2, 500m or 1Gi"


def test_a_new_loadtest_is_not_taken_for_one_that_was_looked_at() -> None:
    assert STATUS_SCHEMA["default"] == {"observedGeneration": -1}


def test_the_scale_subresource_always_finds_its_replicas() -> None:
    (version,) = loadtest_crd()["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.workers.replicas"
    assert spec["workers"]["default"] == {}
    assert spec["workers"]["properties"]["replicas"]["default"] == 1


def test_a_get_shows_what_people_ask_for() -> None:
    (version,) = loadtest_crd()["spec"]["versions"]
    shown = [(column["name"], column.get("priority", 0)) for column in version["additionalPrinterColumns"]]

    assert [name for name, priority in shown if priority == 0] == [
        "Phase",
        "Verdict",
        "Run",
        "Workers",
        "Users",
        "RPS",
        "P95",
        "Errors",
        "Elapsed",
        "Age",
    ]
    assert [name for name, priority in shown if priority] == ["Engine", "Reason", "Message"]


@pytest.mark.promise("kill-switch")
def test_a_class_is_the_clusters_and_shows_its_switch_and_whether_it_is_the_default() -> None:
    crd = class_crd()["spec"]
    (version,) = crd["versions"]
    columns = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}

    assert (crd["scope"], crd["names"]["plural"], crd["names"]["shortNames"]) == (
        "Cluster",
        "loadtestclasses",
        ["ldtc"],
    )
    assert columns["KillSwitch"] == ".spec.killSwitch"
    # A dot within a key is escaped, or the API server would look for a field of this name.
    assert columns["Default"] == ".metadata.annotations.loadstone\\.dev/is-default-class"
    switch = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["killSwitch"]
    assert (switch["type"], switch["default"]) == ("boolean", False)

"""The environment variables of a script, in Kubernetes' own vocabulary. Nothing is resolved here."""

from __future__ import annotations

from typing import Final

from loadstone_core.spec.shape import (
    NAME_OF_OBJECT_LONGEST,
    Flag,
    Listing,
    Quantity,
    Record,
    Rule,
    Text,
    exactly_one,
    named,
)

RESERVED_PREFIX: Final = "LOADSTONE_"


def _key_of(kind: str) -> Record:
    return Record(
        about=f"One key of a {kind} in the LoadTest's namespace.",
        fields={
            "name": named(f"Name of the {kind}."),
            "key": named("Key whose value is taken."),
            "optional": Flag(about=f"Start without the variable if the {kind} or the key is missing. Default: false."),
        },
        required=("name", "key"),
    )


def _all_of(kind: str) -> Record:
    return Record(
        about=f"All keys of a {kind} in the LoadTest's namespace.",
        fields={
            "name": named(f"Name of the {kind}."),
            "optional": Flag(about=f"Start without the variables if the {kind} is missing. Default: false."),
        },
        required=("name",),
    )


_VALUE_FROM: Final = Record(
    about="Where the value comes from, instead of value.",
    fields={
        "configMapKeyRef": _key_of("ConfigMap"),
        "secretKeyRef": _key_of("Secret"),
        "fieldRef": Record(
            about="A field of the pod.",
            fields={
                "apiVersion": named("Version of the pod's schema. Default: v1."),
                "fieldPath": named("Path of the field, for example status.podIP."),
            },
            required=("fieldPath",),
        ),
        "resourceFieldRef": Record(
            about="A resource request or limit of a container.",
            fields={
                "containerName": named("Name of the container; the engine's own if unset."),
                "resource": named("The resource, for example limits.memory."),
                "divisor": Quantity(about="Unit of the value, for example 1Mi. Default: 1."),
            },
            required=("resource",),
        ),
    },
    rules=(exactly_one("configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"),),
)

ENV: Final = Listing(
    about=(
        "Environment variables of the script, in every pod that runs it. As in a Pod: name with value or valueFrom. "
        "Example: [{name: TOKEN, valueFrom: {secretKeyRef: {name: shop, key: token}}}]."
    ),
    most=256,
    key="name",
    items=Record(
        about="One environment variable.",
        fields={
            "name": Text(
                about="Name of the variable, for example TOKEN. Names beginning with LOADSTONE_ are reserved.",
                shortest=1,
                longest=NAME_OF_OBJECT_LONGEST,
                rules=(
                    Rule(
                        message="must not begin with LOADSTONE_, which is for the runner; choose another name",
                        holds=lambda name: not name.startswith(RESERVED_PREFIX),
                        cel=f"!self.startsWith('{RESERVED_PREFIX}')",
                    ),
                ),
            ),
            "value": Text(about="The value. Default: empty.", longest=32_768),
            "valueFrom": _VALUE_FROM,
        },
        required=("name",),
        rules=(
            Rule(
                message="set value or valueFrom, not both",
                holds=lambda env: not ("value" in env and "valueFrom" in env),
                cel="!(has(self.value) && has(self.valueFrom))",
                needs=("value", "valueFrom"),
            ),
        ),
    ),
)

ENV_FROM: Final = Listing(
    about="Whole ConfigMaps or Secrets as environment variables of the script, one for each key. As in a Pod.",
    most=32,
    items=Record(
        about="One ConfigMap or Secret.",
        fields={
            "prefix": Text(about="Put before each key. Default: none.", longest=NAME_OF_OBJECT_LONGEST),
            "configMapRef": _all_of("ConfigMap"),
            "secretRef": _all_of("Secret"),
        },
        rules=(exactly_one("configMapRef", "secretRef"),),
    ),
)

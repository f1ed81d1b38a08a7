"""The part of a pod template that a LoadTest may set: an allow-list in Kubernetes' own vocabulary.

The template has the shape of a pod template: `metadata` and `spec` mean what they mean in a Pod. What belongs to a
container and not to the pod (`resources`, `volumeMounts`) stands beside them and is for the engine's container, the
only one that runs user code; the agent beside it is not the user's to change. Everything else is refused, because it
could break the restricted pod security level or the run itself. Manifests are not made here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec import defaults
from loadstone_core.spec.shape import (
    Flag,
    Free,
    Listing,
    Quantity,
    Record,
    Rule,
    Table,
    Text,
    Whole,
    exactly_one,
    matching,
    named,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RESERVED_DOMAIN: Final = "loadstone.dev/"
RESERVED_VOLUMES: Final = "loadstone-"
RESERVED_PATHS: Final = r"/+(scripts|run/loadstone|etc/loadstone|var/lib/loadstone)"

_LABELS_MOST: Final = 64


def _labels(about: str, longest: int) -> Table:
    return Table(
        about=about,
        values=Text(about="The value.", longest=longest),
        most=_LABELS_MOST,
        rules=(
            Rule(
                message="keys beginning with loadstone.dev/ belong to the operator; choose another prefix",
                holds=lambda table: not any(key.startswith(RESERVED_DOMAIN) for key in table),
                cel=f"self.all(key, !key.startsWith('{RESERVED_DOMAIN}'))",
            ),
        ),
    )


_TOLERATIONS: Final = Listing(
    about="Taints that the worker pods accept, as in a Pod.",
    most=64,
    items=Record(
        about="One toleration.",
        fields={
            "key": Text(about="Key of the taint; all keys if unset (with operator Exists).", longest=317),
            "operator": Text(
                about="How the value is compared, for example Exists or Equal. Default: Equal.", longest=32
            ),
            "value": Text(about="Value of the taint.", longest=63),
            "effect": Text(about="NoSchedule, PreferNoSchedule or NoExecute; all effects if unset.", longest=32),
            "tolerationSeconds": Whole(
                about="How many seconds a NoExecute taint is borne; for ever if unset.", long=True
            ),
        },
    ),
)

_SPREAD: Final = Listing(
    about="How evenly worker pods are spread over zones or nodes, as in a Pod.",
    most=16,
    items=Record(
        about="One constraint.",
        fields={
            "maxSkew": Whole(about="Largest allowed difference of pods between two domains.", least=1, most=2**31 - 1),
            "topologyKey": named("Node label that names the domain, for example topology.kubernetes.io/zone."),
            "whenUnsatisfiable": Text(
                about="DoNotSchedule or ScheduleAnyway.", choices=("DoNotSchedule", "ScheduleAnyway")
            ),
            "labelSelector": Free(about="Pods that count, as in a Pod."),
            "minDomains": Whole(about="Fewest domains that must exist.", least=1, most=2**31 - 1),
            "nodeAffinityPolicy": Text(
                about="Honor or Ignore the node affinity. Default: Honor.", choices=("Honor", "Ignore")
            ),
            "nodeTaintsPolicy": Text(about="Honor or Ignore taints. Default: Ignore.", choices=("Honor", "Ignore")),
            "matchLabelKeys": Listing(
                about="Pod labels whose values are added to the selector.", most=16, items=named("A label key.")
            ),
        },
        required=("maxSkew", "topologyKey", "whenUnsatisfiable"),
    ),
)


def _projected(kind: str, name: str) -> Record:
    return Record(
        about=f"The keys of a {kind} as files.",
        fields={
            name: named(f"Name of the {kind}."),
            "items": Listing(
                about="Which keys at which paths; all keys under their own names if unset.",
                most=64,
                items=Record(
                    about="One key.",
                    fields={
                        "key": named("The key."),
                        "path": named("Path of the file in the volume."),
                        "mode": Whole(
                            about="Permission bits of the file, as a decimal number: 292 is 0444.", least=0, most=0o777
                        ),
                    },
                    required=("key", "path"),
                ),
            ),
            "defaultMode": Whole(
                about="Permission bits of the files, as a decimal number. Default: 420 (0644).", least=0, most=0o777
            ),
            "optional": Flag(about=f"Start even if the {kind} or a key is missing. Default: false."),
        },
        required=(name,),
    )


_VOLUMES: Final = Listing(
    about="Volumes of the pods: configMap, secret, persistentVolumeClaim or emptyDir; mounted by volumeMounts.",
    most=32,
    key="name",
    items=Record(
        about="One volume.",
        fields={
            "name": Text(
                about="Name of the volume, for volumeMounts. Names beginning with loadstone- are reserved.",
                shortest=1,
                longest=63,
                rules=(
                    Rule(
                        message="must not begin with loadstone-, which is for the operator; choose another name",
                        holds=lambda name: not name.startswith(RESERVED_VOLUMES),
                        cel=f"!self.startsWith('{RESERVED_VOLUMES}')",
                    ),
                ),
            ),
            "configMap": _projected("ConfigMap", "name"),
            "secret": _projected("Secret", "secretName"),
            "persistentVolumeClaim": Record(
                about="A claim in the LoadTest's namespace; with several workers it must allow that.",
                fields={
                    "claimName": named("Name of the claim."),
                    "readOnly": Flag(about="Mount it read-only. Default: false."),
                },
                required=("claimName",),
            ),
            "emptyDir": Record(
                about="An empty folder that lives as long as the pod.",
                fields={
                    "medium": Text(
                        about="Memory for a folder in memory; the node's disk if unset.", choices=("", "Memory")
                    ),
                    "sizeLimit": Quantity(about="How much it may hold, for example 1Gi."),
                },
            ),
        },
        required=("name",),
        rules=(exactly_one("configMap", "secret", "persistentVolumeClaim", "emptyDir"),),
        hints={
            "hostPath": "host folders are not allowed; use configMap, secret, persistentVolumeClaim or emptyDir",
        },
    ),
)

_MOUNTS: Final = Listing(
    about="Where the volumes appear in the engine's container, as in a Pod.",
    most=32,
    key="mountPath",
    items=Record(
        about="One mount.",
        fields={
            "name": Text(about="Name of a volume in spec.volumes.", shortest=1, longest=63),
            "mountPath": Text(
                about="Absolute path in the container, for example /data.",
                longest=512,
                rules=(
                    matching(r"/+[^:/][^:]*", "must be an absolute path without a colon, such as /data"),
                    Rule(
                        message="must not be in /scripts, /run/loadstone, /etc/loadstone or /var/lib/loadstone, "
                        "which the runner uses; choose another path such as /data",
                        holds=lambda path: re.match(RESERVED_PATHS + "/", path + "/") is None,
                        cel=f"!(self + '/').matches(r'^{RESERVED_PATHS}/')",
                    ),
                ),
            ),
            "subPath": Text(about="Path in the volume that is mounted; its root if unset.", longest=512),
            "readOnly": Flag(about="Mount it read-only. Default: false."),
        },
        required=("name", "mountPath"),
    ),
)


_RESOURCES: Final = "Kubernetes quantities by resource, for example {cpu: 2, memory: 1Gi}."


def _amounts(about: str) -> Table:
    return Table(about=f"{about} {_RESOURCES}", values=Quantity(about="The quantity."), most=16)


_POD_SPEC: Final = Record(
    about="Fields of the pod's spec. Only the ones listed here may be set.",
    fields={
        "nodeSelector": Table(
            about="Labels that a node must have, for example {pool: load}.",
            values=Text(about="The value.", longest=63),
            most=_LABELS_MOST,
        ),
        "affinity": Free(about="Node affinity, pod affinity and anti-affinity, as in a Pod."),
        "tolerations": _TOLERATIONS,
        "topologySpreadConstraints": _SPREAD,
        "priorityClassName": named("PriorityClass of the worker pods."),
        "imagePullSecrets": Listing(
            about="Secrets with the registry's credentials, for example [{name: registry}].",
            most=8,
            key="name",
            items=Record(about="One Secret.", fields={"name": named("Name of the Secret.")}, required=("name",)),
        ),
        "volumes": _VOLUMES,
    },
    hints={
        "containers": "containers are made by the operator; set workers.template.resources, "
        "workers.template.volumeMounts, spec.env and spec.image instead",
        "resources": "resources stand beside spec: write workers.template.resources",
        "volumeMounts": "volumeMounts stand beside spec: write workers.template.volumeMounts",
        "securityContext": "is set by the operator for the restricted pod security level and cannot be changed",
    },
)


def _mounts_have_volumes(template: Mapping[str, Any]) -> bool:
    volumes = {volume["name"] for volume in template.get("spec", {}).get("volumes", ())}
    return all(mount["name"] in volumes for mount in template.get("volumeMounts", ()))


TEMPLATE: Final = Record(
    about=(
        "What the worker pods should have beyond the operator's own: metadata and spec as in a Pod, resources and "
        "volumeMounts for the container that runs the script. "
        "Example: {spec: {nodeSelector: {pool: load}}, resources: {limits: {cpu: 2, memory: 1Gi}}}."
    ),
    fields={
        "metadata": Record(
            about="Labels and annotations of the worker pods.",
            fields={
                "labels": _labels(
                    "Labels, for example {team: shop}. Keys beginning with loadstone.dev/ are reserved.", 63
                ),
                "annotations": _labels("Annotations. Keys beginning with loadstone.dev/ are reserved.", 4_096),
            },
        ),
        "spec": _POD_SPEC,
        "resources": Record(
            about=(
                "CPU and memory of the container that runs the script. Each whole CPU of the limit (else of the "
                f"request) runs one engine process, up to {defaults.ENGINES_MOST:,}. Default: the operator's settings."
            ),
            fields={
                "limits": _amounts("The most it may use."),
                "requests": _amounts("What the scheduler sets aside for it; the limits if unset."),
            },
        ),
        "volumeMounts": _MOUNTS,
    },
    rules=(
        Rule(
            message="each volumeMounts.name must be the name of a volume in spec.volumes",
            holds=_mounts_have_volumes,
            cel="!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.spec) && has(self.spec.volumes) "
            "&& self.spec.volumes.exists(volume, volume.name == mount.name))",
            needs=("spec", "volumeMounts"),
        ),
    ),
)

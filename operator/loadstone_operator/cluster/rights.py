"""Compare the rights that the operator has with those that it needs, so that a missing one is not met in mid-run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_operator import naming
from loadstone_operator.cluster.api import RULES_REVIEWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_operator.cluster.api import Api

# (group, resource): verbs. The chart's roles say the same; a contract test compares them.
NEEDED: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    (naming.GROUP, "loadtests"): ("get", "list", "watch", "patch"),
    (naming.GROUP, "loadtests/status"): ("patch",),
    ("", "pods"): ("list", "watch", "create", "patch", "delete"),
    ("", "services"): ("create", "patch"),
    ("", "configmaps"): ("get", "create", "patch"),
    ("", "secrets"): ("create",),
    ("", "events"): ("create",),
}


async def missing_rights(api: Api, namespaces: Iterable[str]) -> list[str]:
    """Return each right that is missing in a namespace, as `verb resource in namespace`."""
    missing: list[str] = []
    for namespace in namespaces:
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": RULES_REVIEWS.name, "spec": {"namespace": namespace}}
        review = await api.create(RULES_REVIEWS, None, body)
        rules = (review.get("status") or {}).get("resourceRules") or []
        missing += [f"{right} in {namespace}" for right in lacking(rules)]
    return missing


def lacking(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the needed rights that no rule grants, as `verb resource`."""
    granted = list(rules)
    return [
        f"{verb} {resource}"
        for (group, resource), verbs in NEEDED.items()
        for verb in verbs
        if not any(_grants(rule, group, resource, verb) for rule in granted)
    ]


def _grants(rule: Mapping[str, Any], group: str, resource: str, verb: str) -> bool:
    wishes = (("apiGroups", group), ("resources", resource), ("verbs", verb))
    is_named = all("*" in (rule.get(key) or ()) or wish in (rule.get(key) or ()) for key, wish in wishes)
    return is_named and not rule.get("resourceNames")

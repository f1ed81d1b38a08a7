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


# In the whole cluster, unless single namespaces are served.
CLUSTER: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    (naming.GROUP, naming.CLASS_PLURAL): ("list", "watch"),
}
# Where the chart asks for them.
NETWORK: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("networking.k8s.io", "networkpolicies"): ("create", "patch"),
}
# In the operator's own namespace, for the one Secret with its authorities; a name cannot be demanded of what is made.
AUTHORITY: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {("", "secrets"): ("get", "update")}
AUTHORITY_NEW: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {("", "secrets"): ("create",)}


async def missing_rights(
    api: Api, namespaces: Iterable[str], *, own: str, authority: str, with_classes: bool, with_policies: bool
) -> list[str]:
    """Return each right that is missing, as `verb resource in namespace`.

    Args:
        api: where to ask.
        namespaces: whose LoadTests are served.
        own: the operator's namespace.
        authority: name of the Secret with its authorities.
        with_classes: whether LoadTestClasses are read, which are the whole cluster's.
        with_policies: whether runs get a NetworkPolicy.
    """
    needed = {**NEEDED, **(CLUSTER if with_classes else {}), **(NETWORK if with_policies else {})}
    missing: list[str] = []
    for namespace in namespaces:
        rules = await _rules(api, namespace)
        missing += [f"{right} in {namespace}" for right in lacking(rules, needed)]
    rules = await _rules(api, own)
    named = [*lacking(rules, AUTHORITY, name=authority), *lacking(rules, AUTHORITY_NEW)]
    return missing + [f"{right} ({authority}) in {own}" for right in named]


def lacking(
    rules: Iterable[Mapping[str, Any]],
    needed: Mapping[tuple[str, str], tuple[str, ...]] = NEEDED,
    *,
    name: str = "",
) -> list[str]:
    """Return the needed rights that no rule grants for every object, or for the one of a name, as `verb resource`."""
    granted = list(rules)
    return [
        f"{verb} {resource}"
        for (group, resource), verbs in needed.items()
        for verb in verbs
        if not any(_grants(rule, group, resource, verb=verb, name=name) for rule in granted)
    ]


async def _rules(api: Api, namespace: str) -> list[Mapping[str, Any]]:
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": RULES_REVIEWS.name, "spec": {"namespace": namespace}}
    review = await api.create(RULES_REVIEWS, None, body)
    return (review.get("status") or {}).get("resourceRules") or []


def _grants(rule: Mapping[str, Any], group: str, resource: str, *, verb: str, name: str) -> bool:
    wishes = (("apiGroups", group), ("resources", resource), ("verbs", verb))
    is_named = all("*" in (rule.get(key) or ()) or wish in (rule.get(key) or ()) for key, wish in wishes)
    return is_named and (not rule.get("resourceNames") or name in rule["resourceNames"])

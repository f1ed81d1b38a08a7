"""Give every container requests and limits, and say how many engines they are enough for. Pure.

The defaults are small, so that ten workers fit on two cores; CPU limits are far above what one engine can use.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec.defaults import ENGINES_MOST

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINE: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "512Mi"}}
AGENT: Final = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
MASTER: Final = {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
DIRECTOR: Final = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}

_SUFFIXES: Final = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15),
    "E": Fraction(10**18), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
    "Pi": Fraction(2**50), "Ei": Fraction(2**60),
}  # fmt: skip


def engines_for(asked: Mapping[str, Any] | None) -> int:
    """Return how many engines a worker has room for: one for each whole CPU of the limit, else of the request.

    The default limit says nothing about what the user wants, so without a wish it is one; there are never more than a
    master takes in.
    """
    for kind in ("limits", "requests"):
        cpu = ((asked or {}).get(kind) or {}).get("cpu")
        if cpu is not None:
            return min(max(1, int(quantity(cpu))), ENGINES_MOST)
    return 1


def resources_for(asked: Mapping[str, Any] | None, defaults: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return requests and limits of an engine's container: what is asked, and the defaults for the rest.

    A limit that is set without a request is the request too, as in Kubernetes; a request above the default limit
    raises the limit.
    """
    base = defaults or ENGINE
    wanted = asked or {}
    limits, requests = dict(wanted.get("limits") or {}), dict(wanted.get("requests") or {})
    for resource, amount in limits.items():
        requests.setdefault(resource, amount)
    for resource, amount in (base.get("requests") or {}).items():
        requests.setdefault(resource, amount)
    for resource, amount in (base.get("limits") or {}).items():
        asked_for = requests.get(resource, amount)
        limits.setdefault(resource, asked_for if quantity(asked_for) > quantity(amount) else amount)
    return {"requests": requests, "limits": limits}


def quantity(value: object) -> Fraction:
    """Return a Kubernetes quantity such as `250m`, `1.5`, `2Gi` or `1e3` exactly.

    Raises:
        ValueError: it is none.
    """
    text = str(value).strip()
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            return Fraction(text[: -len(suffix)]) * _SUFFIXES[suffix]
    return Fraction(text)

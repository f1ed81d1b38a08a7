"""Tell objects and their states apart, by the UIDs and resource versions that the API server has given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def uid_of(body: Mapping[str, Any]) -> str:
    """Return an object's UID."""
    return str(body["metadata"].get("uid", ""))


def version_of(body: Mapping[str, Any]) -> str:
    """Return an object's resource version."""
    return str(body["metadata"].get("resourceVersion", ""))


def precedes(one: str, other: str) -> bool:
    """Say whether a resource version is older; those that are no numbers cannot be compared, and are taken as newer."""
    return one.isdigit() and other.isdigit() and int(one) < int(other)

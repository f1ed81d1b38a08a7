"""Name a spec and a set of files by their contents, the same in every process that holds them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.spec.shape import AnyNode, Node

# What steers a run without changing what it is.
_STEERING: Final = frozenset({"className", "suspend", "stopRun", "trigger"})
_AIMED: Final = frozenset({"users", "rate"})


def spec_digest(raw_spec: Mapping[str, Any]) -> str:
    """Return `sha256:<hex>` over the fields of a valid spec that decide what a run does.

    Left out are `className`, `suspend`, `stopRun`, `trigger`, `load.paused`, `workers.replicas`, and every value that
    is the default or empty. So a file and the same resource read back from the API server agree, and a field that is
    new in the CRD changes no digest until somebody sets it.
    """
    # Agents, whose start is counted in milliseconds, only need files_digest and not the tree of fields.
    from loadstone_core.spec.fields import SPEC

    telling = {field: value for field, value in raw_spec.items() if field not in _STEERING}
    if "workers" in telling:
        telling["workers"] = {field: value for field, value in telling["workers"].items() if field != "replicas"}
    if "load" in telling:
        telling["load"] = {field: value for field, value in telling["load"].items() if field != "paused"}
    text = json.dumps(_without_defaults(SPEC, telling), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return _named(hashlib.sha256(text.encode()))


def part_digests(raw_spec: Mapping[str, Any]) -> dict[str, str]:
    """Return a short digest of each part of a valid spec that counts from the next run on when it is edited, by path.

    What takes effect in a run is left out: `className`, `suspend`, `stopRun`, `trigger`, `config`, and of loads
    `paused` and the values of users, rate and spawnRate, of which only says something that they are there.
    """
    from loadstone_core.spec.fields import SPEC

    telling: dict[str, Any] = _without_defaults(
        SPEC, {field: value for field, value in raw_spec.items() if field not in _STEERING and field != "config"}
    )
    parts = {field: value for field, value in telling.items() if field not in {"load", "workers", "scenarios"}}
    for field, value in {"load": _unaimed(telling.get("load", {})), "workers": telling.get("workers", {})}.items():
        parts |= {f"{field}.{name}": held for name, held in value.items()}
    for scenario in telling.get("scenarios", ()):
        # One for each, as a status has to hold them all.
        parts[f"scenarios.{scenario['name']}"] = _unaimed(scenario)
    return {path: _short(value) for path, value in parts.items()}


def edited(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return the paths of the parts that differ between two sets of digests, as `part_digests` gives them."""
    return tuple(sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path)))


def files_digest(files: Mapping[str, bytes]) -> str:
    """Return `sha256:<hex>` over files by path, in the order of their paths' UTF-8.

    Each path and each content is preceded by its length as 8 bytes, big-endian, so that no two sets of files look the
    same. Agents compute it over what they really mount.
    """
    summed = hashlib.sha256()
    for path, content in sorted((path.encode(errors="surrogateescape"), content) for path, content in files.items()):
        for part in (path, content):
            summed.update(len(part).to_bytes(8, "big"))
            summed.update(part)
    return _named(summed)


def _unaimed(load: Mapping[str, Any]) -> dict[str, Any]:
    """Return a load without what may be aimed at in a run."""
    return {
        name: None if name in _AIMED else held for name, held in load.items() if name not in {"paused", "spawnRate"}
    }


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _named(summed: Any) -> str:
    return f"sha256:{summed.hexdigest()}"


def _without_defaults(node: Node, value: Any) -> Any:
    """Return the value without fields that are empty or as by default."""
    from loadstone_core.spec.shape import Listing, Record

    match cast("AnyNode", node):
        case Record(fields=fields):
            kept = {name: _without_defaults(fields[name], held) for name, held in value.items()}
            return {name: held for name, held in kept.items() if held != fields[name].default and held not in ({}, [])}
        case Listing(items=items):
            return [_without_defaults(items, item) for item in value]
        case _:
            return value

"""Hold a document against its declaration: every problem with its path, and the value with defaults filled in.

The fields themselves are declared elsewhere; values of the model are made elsewhere.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never, cast

from loadstone_core.errors import Problem
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

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUANTITY: Final = re.compile(QUANTITY_PATTERN, re.ASCII)
_SHOWN_LONGEST: Final = 40
_DEEPEST: Final = 32
_INTEGER_END: Final = 2**63


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found: the value with defaults, as far as it was right, and the problems in it."""

    value: Any
    problems: tuple[Problem, ...] = ()


def inspect(node: Node, value: object, path: str) -> Seen:
    """Return the value with defaults and all problems; never raises, whatever the value is."""
    if value is None:
        return _wrong(path, "is empty; give it a value or leave the field out")
    declared = cast("AnyNode", node)
    match declared:
        case Text():
            seen = _text(declared, value, path)
        case Whole():
            seen = _whole(declared, value, path)
        case Flag():
            seen = Seen(value) if isinstance(value, bool) else _wrong(path, "must be true or false")
        case Quantity():
            seen = _quantity(value, path)
        case Free():
            seen = _free(value, path)
        case Listing():
            seen = _listing(declared, value, path)
        case Table():
            seen = _table(declared, value, path)
        case Record():
            return _record(declared, value, path)
        case _:
            assert_never(declared)
    return seen if seen.problems else _first_broken(declared, seen.value, path)


def child(path: str, key: object) -> str:
    """Return the path of a field: `path.key`, or `path["odd key"]`, long keys cut."""
    name = str(key) if isinstance(key, str) else type(key).__name__
    return f"{path}.{name}" if _PLAIN_KEY.fullmatch(name) else f"{path}[{shown(name)}]"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?` for the nearest known word, or nothing."""
    near = _nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def shown(text: str) -> str:
    """Return a text in quotes for people, long ones cut, on one line."""
    cut = text if len(text) <= _SHOWN_LONGEST else text[:_SHOWN_LONGEST] + "..."
    return json.dumps(cut, ensure_ascii=True)


def _nearest(word: object, known: Iterable[str]) -> str:
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(word).lower()[:_SHOWN_LONGEST], lowered, n=1, cutoff=0.7)
    return lowered[near[0]] if near else ""


def _wrong(path: str, message: str) -> Seen:
    return Seen(None, (Problem(path, message),))


def _first_broken(node: Node, value: Any, path: str) -> Seen:
    # A later rule may lean on an earlier one, so one sentence at a time for a single value.
    for rule in node.rules:
        if not rule.holds(value):
            return _wrong(path, rule.message)
    return Seen(value)


def _text(node: Text, value: object, path: str) -> Seen:
    if not isinstance(value, str):
        return _wrong(path, "must be text; put it in quotes" if isinstance(value, int | float) else "must be text")
    if not _is_text(value):
        return _wrong(path, "holds half a character (a lone surrogate); save the file as UTF-8")
    if node.choices and value not in node.choices:
        near = did_you_mean(value, node.choices) if len(node.choices) > 1 else ""
        return _wrong(path, f"must be {' or '.join(node.choices)}, not {shown(value)}{near}")
    if len(value) < node.shortest:
        return _wrong(path, "must not be empty")
    if node.longest is not None and len(value) > node.longest:
        return _wrong(path, f"must be at most {node.longest} characters long")
    return Seen(value)


def _is_text(value: object) -> bool:
    """Tell whether a value is a string that can leave the process as UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _whole(node: Whole, value: object, path: str) -> Seen:
    # The API server refuses 5.0 too.
    if isinstance(value, bool) or not isinstance(value, int):
        return _wrong(path, f"must be a whole number{_bounds(node)}")
    if (node.least is not None and value < node.least) or (node.most is not None and value > node.most):
        return _wrong(path, f"must be a whole number{_bounds(node)}")
    return Seen(value)


def _bounds(node: Whole) -> str:
    if node.least is None or node.most is None:
        return ""
    return f" from {node.least} to {node.most}"


def _quantity(value: object, path: str) -> Seen:
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _INTEGER_END
    if good or (isinstance(value, str) and len(value) <= QUANTITY_LONGEST and _QUANTITY.fullmatch(value)):
        return Seen(value)
    return _wrong(path, QUANTITY_SENTENCE)


def _free(value: object, path: str) -> Seen:
    if not isinstance(value, Mapping):
        return _wrong(path, "must be a mapping")
    if not _is_json(value, _DEEPEST):
        return _wrong(path, f"must be made of text, numbers, true, false, lists and mappings, {_DEEPEST} deep at most")
    return Seen(value)


def _is_json(value: object, levels: int) -> bool:
    match value:
        case Mapping():
            return levels > 0 and all(_is_text(key) and _is_json(held, levels - 1) for key, held in value.items())
        case list():
            return levels > 0 and all(_is_json(item, levels - 1) for item in value)
        case int():
            return -_INTEGER_END <= value < _INTEGER_END
        case float():
            return math.isfinite(value)
    return value is None or _is_text(value)


def _listing(node: Listing, value: object, path: str) -> Seen:
    if not isinstance(value, list | tuple):
        return _wrong(path, "must be a list")
    if len(value) < node.fewest:
        return _wrong(path, "must not be empty")
    if node.most is not None and len(value) > node.most:
        return _wrong(path, f"must have at most {node.most} items")
    seen = [inspect(node.items, item, f"{path}[{index}]") for index, item in enumerate(value)]
    problems = [problem for one in seen for problem in one.problems]
    items = [one.value for one in seen if not one.problems]
    problems.extend(_repeated(node, value, path))
    return Seen(items, tuple(problems))


def _repeated(node: Listing, value: Iterable[object], path: str) -> Iterable[Problem]:
    """Yield a problem for each item that is the same as an earlier one, by key or as a whole text."""
    met: set[str] = set()
    for index, item in enumerate(value):
        told = item.get(node.key) if node.key and isinstance(item, Mapping) else item
        if not (node.key or node.distinct) or not isinstance(told, str):
            continue
        if told in met:
            where = f"{path}[{index}]"
            yield Problem(child(where, node.key) if node.key else where, f"{shown(told)} is there twice")
        met.add(told)


def _table(node: Table, value: object, path: str) -> Seen:
    if not isinstance(value, Mapping):
        return _wrong(path, "must be a mapping")
    if node.most is not None and len(value) > node.most:
        return _wrong(path, f"must have at most {node.most} entries")
    problems: list[Problem] = []
    filled: dict[str, Any] = {}
    for key, held in value.items():
        if not _is_text(key):
            problems.append(Problem(path, "must have keys that are text; put them in quotes"))
            continue
        seen = inspect(node.values, held, child(path, key))
        problems.extend(seen.problems)
        filled[key] = seen.value
    return Seen(filled, tuple(problems))


def _record(node: Record, value: object, path: str) -> Seen:
    if not isinstance(value, Mapping):
        return _wrong(path, f"must be a mapping with fields such as {', '.join(list(node.fields)[:3])}")
    strange = [key for key in value if key not in node.fields]
    problems = [Problem(child(path, key), _unknown(node, key)) for key in strange]
    filled: dict[str, Any] = {}
    # Who wrote `duraton` has not left out the duration.
    unsound = {_nearest(key, node.fields) for key in strange}
    for name, declared in node.fields.items():
        if name not in value and declared.default is UNSET:
            if name in node.required:
                unsound.add(name)
                problems.append(Problem(child(path, name), f"is required: {_in_a_sentence(declared.about)}"))
            continue
        seen = inspect(declared, value.get(name, declared.default), child(path, name))
        problems.extend(seen.problems)
        filled[name] = seen.value
        if seen.problems:
            unsound.add(name)
    asked = (rule for rule in node.rules if unsound.isdisjoint(rule.needs))
    problems.extend(Problem(path, rule.message) for rule in asked if not rule.holds(filled))
    return Seen(filled, tuple(problems))


def _unknown(node: Record, key: object) -> str:
    if not isinstance(key, str):
        return "unknown field; known are " + ", ".join(node.fields)
    if key in node.hints:
        return node.hints[key]
    near = did_you_mean(key, node.fields)
    return f"unknown field{near}" if near else f"unknown field; known are {', '.join(node.fields)}"


def _in_a_sentence(about: str) -> str:
    first, _, _ = about.partition(".")
    return first[0].lower() + first[1:]

"""The vocabulary in which the fields of a LoadTest are declared: text, number, list, record, and rules over them.

A declaration is data. It is read by `inspection` (is this document right?) and by `schema` (what does the API server
have to know?); neither of the two is known here, and no field is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Unset:
    """The type of `UNSET`, which says that a field has no default."""


UNSET: Final = Unset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One claim about a value, twice: for Python and, where it can be said there, for the API server.

    Attributes:
        message: one sentence that says what to write.
        holds: the claim over a value whose structure is right, defaults filled in.
        cel: the same claim in the Common Expression Language; None if only Python checks it.
        needs: for a record, the fields that `holds` reads; with one of them wrong, the rule is not asked.
    """

    message: str
    holds: Callable[[Any], bool]
    cel: str | None = None
    needs: tuple[str, ...] = ()


def matching(pattern: str, message: str) -> Rule:
    """Return the rule that a whole text matches a pattern; only syntax that RE2 and Python share, no single quote."""
    compiled = re.compile(pattern, re.ASCII)
    return Rule(
        message=message,
        holds=lambda text: compiled.fullmatch(text) is not None,
        cel=f"self.matches(r'^({pattern})$')",
    )


def exactly_one(*names: str) -> Rule:
    """Return the rule that a record has exactly one of some fields."""
    told = f"{', '.join(names[:-1])} and {names[-1]}"
    return Rule(
        message=f"set exactly one of {told}",
        holds=lambda record: sum(name in record for name in names) == 1,
        cel=f"[{', '.join(f'has(self.{name})' for name in names)}].exists_one(x, x)",
        needs=names,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What all declarations have: a description for users, a default in the form of the document, rules."""

    about: str
    default: Any = UNSET
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Node):
    """A string; lengths in characters; `choices` closes the set."""

    shortest: int = 0
    longest: int | None = None
    choices: tuple[str, ...] = ()
    form: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Node):
    """An integer; `long` asks for 64 bits."""

    least: int | None = None
    most: int | None = None
    long: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Node):
    """True or false."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity(Node):
    """A Kubernetes quantity: a number or text such as `500m` or `1Gi`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free(Node):
    """An object of Kubernetes that is passed on unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Node):
    """A list; `key` names the field that tells its records apart, `distinct` forbids equal items."""

    items: Node
    fewest: int = 0
    most: int | None = None
    key: str = ""
    distinct: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Node):
    """A mapping whose keys the user chooses."""

    values: Node
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Node):
    """A mapping of known fields; `hints` are sentences for well-known names that do not belong here."""

    fields: Mapping[str, Node]
    required: tuple[str, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)


AnyNode = Text | Whole | Flag | Quantity | Free | Listing | Table | Record

QUANTITY_PATTERN: Final = r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]{1,3}))?"
QUANTITY_LONGEST: Final = 64
QUANTITY_SENTENCE: Final = "must be a quantity such as 2, 500m or 1Gi"
NAME_OF_OBJECT_LONGEST: Final = 253


def named(about: str) -> Text:
    """Declare the name of an object, a key or a label of Kubernetes."""
    return Text(about=about, shortest=1, longest=NAME_OF_OBJECT_LONGEST)

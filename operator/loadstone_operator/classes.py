"""Know the LoadTestClasses, and say to which of them a LoadTest belongs. Nothing is called here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec.defaults import DEFAULT_CLASS
from loadstone_operator.permission import NO_CLASS, ClassView
from loadstone_operator.versions import precedes, uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_UNREADABLE: Final = (
    'spec.className is "{name}", and this operator reads no LoadTestClasses: leave it out, or have the operator serve '
    "the whole cluster, with crds/loadtestclasses.yaml applied and the chart's roles installed before it starts."
)
_MISSING: Final = 'There is no LoadTestClass "{name}", which spec.className names; {advice}.'
_NAMED_MOST: Final = 8


class Classes:
    """All LoadTestClasses by name; unreadable until a list of them was taken in."""

    def __init__(self) -> None:
        self._bodies: dict[str, Mapping[str, Any]] = {}
        self._lost: set[str] = set()
        self.is_readable = False

    def see(self, body: Mapping[str, Any]) -> bool:
        """Take in a class, unless a newer state of it is known; return whether it means anything new."""
        name = _name(body)
        held = self._bodies.get(name)
        if held is not None and precedes(version_of(body), version_of(held)):
            return False
        self._bodies[name] = body
        return held is None or _meaning(body) != _meaning(held)

    def lose(self, body: Mapping[str, Any]) -> None:
        """Forget a class that is gone; not its successor of the same name, of which may have been heard first."""
        held = self._bodies.get(_name(body))
        self._lost.add(uid_of(body))
        if held is not None and uid_of(held) == uid_of(body):
            del self._bodies[_name(body)]

    def names(self) -> frozenset[str]:
        """Return the names that are known now, for the `settle` that follows."""
        return frozenset(self._bodies)

    def settle(self, known: frozenset[str], bodies: Iterable[Mapping[str, Any]] | None) -> bool:
        """Take in a whole list, None if there is none to be read; return whether it says anything new.

        Only what was `known` before the list was asked for can be missing from it, and what was lost since may still be
        in it. Without a list what is known stays: no switch is taken back because a right is.
        """
        was_readable, self.is_readable = self.is_readable, bodies is not None
        if bodies is None:
            return was_readable
        listed = {_name(body): body for body in bodies if uid_of(body) not in self._lost}
        self._lost.clear()
        gone = (known - listed.keys()) & self._bodies.keys()
        for name in gone:
            del self._bodies[name]
        news = [self.see(body) for body in listed.values()]
        return bool(gone) or any(news) or not was_readable

    def of(self, name: str | None) -> ClassView:
        """Return the class of this name; without a name the default one, which is the newest that is marked so."""
        if name is None:
            marked = [body for body in self._bodies.values() if _is_default(body)]
            newest = max(marked, key=lambda body: (_created(body), _name(body)), default=None)
            return NO_CLASS if newest is None else _view(newest)
        if name in self._bodies:
            return _view(self._bodies[name])
        return ClassView(name, missing=self._advice(name))

    def _advice(self, name: str) -> str:
        if not self.is_readable:
            return _UNREADABLE.format(name=name)
        others = sorted(self._bodies)
        more = f" and {len(others) - _NAMED_MOST} more" if len(others) > _NAMED_MOST else ""
        named = f", or name one that is there: {', '.join(others[:_NAMED_MOST])}{more}" if others else ""
        return _MISSING.format(name=name, advice=f"create it{named}")


def _view(body: Mapping[str, Any]) -> ClassView:
    return ClassView(_name(body), is_killed=(body.get("spec") or {}).get("killSwitch") is True)


def _meaning(body: Mapping[str, Any]) -> tuple[ClassView, bool]:
    return _view(body), _is_default(body)


def _is_default(body: Mapping[str, Any]) -> bool:
    return (body["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"


def _name(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["name"])


def _created(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("creationTimestamp", ""))

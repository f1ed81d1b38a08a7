"""Choose what a user does next: by weight or in order, through sets within sets. Doing it belongs to `native`."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from loadstone import InterruptTaskSet, SequentialTaskSet, StopUser, TaskSet
from loadstone.tasks import tasks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from loadstone import User

    Guard = Callable[[Callable[[], object], str], bool]
    Choice = tuple[str, Callable[[Any], object], Any]

DEPTH_MAX: Final = 20


class Piece(NamedTuple):
    """One thing to choose.

    Attributes:
        name: of its series: class, sets and task, joined by dots.
        function: takes the user or the set; for a set the class itself.
        inner: what the set has to choose from; None for a function.
    """

    name: str
    function: Callable[[Any], object]
    inner: Repertoire | None


class Repertoire:
    """What a user class or a task set has to choose from, worked out once.

    Attributes:
        made: the class.
        name: of the class, with the sets around it.
        pieces: in order of definition.
        is_flat: no piece is a set.
        is_sequence: they come in order.
        weights: how often each is drawn, beside the others; a sequence has each piece as often in `pieces` instead.
    """

    __slots__ = ("_cumulative", "_total", "is_flat", "is_sequence", "made", "name", "pieces", "weights")

    def __init__(self, made: type, name: str, pieces: Sequence[Piece], weights: Sequence[int]) -> None:
        self.made = made
        self.name = name
        self.is_flat = all(piece.inner is None for piece in pieces)
        self.is_sequence = issubclass(made, SequentialTaskSet)
        if self.is_sequence:
            pieces = [piece for piece, weight in zip(pieces, weights, strict=True) for _ in range(weight)]
        self.pieces = tuple(pieces)
        self.weights = tuple(weights)
        self._cumulative = list(accumulate(weights))
        self._total = self._cumulative[-1]

    def draw(self) -> Piece:
        """Return a piece, each as often as its weight says."""
        pieces = self.pieces
        if len(pieces) == 1:
            return pieces[0]
        return pieces[bisect_right(self._cumulative, random() * self._total)]  # noqa: S311 a choice of a task is no secret


class Chooser(Protocol):
    """How one user comes from one task to the next."""

    def next(self) -> Choice:
        """Return the name of the next task, its function, and what that is to be called with."""
        ...

    def leave(self, *, reschedule: bool) -> bool:
        """Leave the innermost set; False: the user is in none."""
        ...

    def unwind(self) -> None:
        """Leave all sets: the user ends."""
        ...

    def pause(self) -> object:
        """Return what the innermost `wait` returns: seconds, if the script does it right."""
        ...


def select(
    users: Sequence[type[User]], include: Collection[str] = (), exclude: Collection[str] = ()
) -> tuple[Repertoire, ...]:
    """Return what each class has to choose from; a class that nothing is left of is left out.

    Args:
        users: classes of a script.
        include: keep only tasks that have one of these tags, themselves or by a set around them; empty: all.
        exclude: leave out tasks that have one of these, whatever else they have.

    Raises:
        ValueError: a set contains itself.
    """
    found = (_repertoire(each, each.__name__, frozenset(), (frozenset(include), frozenset(exclude))) for each in users)
    return tuple(each for each in found if each is not None)


def tags_of(users: Sequence[type[User]]) -> frozenset[str]:
    """Return every tag of a task, or of a set of tasks, that a script has."""
    found: set[str] = set()
    held: list[type] = list(users)
    seen: set[type] = set()
    while held:
        made = held.pop()
        if made in seen:
            continue
        seen.add(made)
        for task in tasks_of(made):
            found |= task.tags
            if isinstance(task.function, type):
                held.append(task.function)
    return frozenset(found)


def repertoire_of(made: type[User]) -> Repertoire:
    """Return what a class with tasks has to choose from.

    Raises:
        ValueError: it has no tasks, or a set contains itself.
    """
    found = select([made])
    if not found:
        raise ValueError(f"{made.__name__} has no tasks")
    return found[0]


def make_chooser(repertoire: Repertoire, user: User, guard: Guard) -> Chooser:
    """Return how a user chooses; `guard` calls code of the script that must not end the user."""
    if repertoire.is_flat:
        return FlatChooser(repertoire, user)
    return NestedChooser(repertoire, user, guard)


class FlatChooser:
    """The chooser of a user whose tasks are functions."""

    __slots__ = ("_draw", "_user", "_wait")

    def __init__(self, repertoire: Repertoire, user: User) -> None:
        self._draw = repertoire.draw
        self._user = user
        self._wait = type(user).wait

    def next(self) -> Choice:
        """Return a task."""
        piece = self._draw()
        return piece.name, piece.function, self._user

    def leave(self, *, reschedule: bool) -> bool:  # noqa: ARG002 there is no set
        """Return False: there is no set."""
        return False

    def unwind(self) -> None:
        """Do nothing: there is no set."""

    def pause(self) -> object:
        """Return what the user's `wait` returns."""
        return self._wait(self._user)


class _Visit:
    """A set that the user is in, or the user itself: who it is and how far its sequence is."""

    __slots__ = ("owner", "position", "repertoire")

    def __init__(self, repertoire: Repertoire, owner: Any) -> None:
        self.repertoire = repertoire
        self.owner = owner
        self.position = 0

    def choose(self) -> Piece:
        repertoire = self.repertoire
        if not repertoire.is_sequence:
            return repertoire.draw()
        piece = repertoire.pieces[self.position]
        self.position = (self.position + 1) % len(repertoire.pieces)
        return piece


class NestedChooser:
    """The chooser of a user that has task sets: the visits that it is in, the innermost last."""

    __slots__ = ("_coming", "_function", "_guard", "_is_rescheduled", "_visits")

    def __init__(self, repertoire: Repertoire, user: User, guard: Guard) -> None:
        self._visits = [_Visit(repertoire, user)]
        self._coming: list[_Visit] = []
        self._function: Callable[[Any], object]
        self._guard = guard
        self._is_rescheduled = False

    def next(self) -> Choice:
        """Return a task; if it is in a set that the user is not in, entering that is a part of the iteration."""
        visit = self._visits[-1]
        piece = visit.choose()
        if piece.inner is None:
            return piece.name, piece.function, visit.owner
        self._coming = []
        while piece.inner is not None:
            visit = _Visit(piece.inner, None)
            self._coming.append(visit)
            piece = visit.choose()
        self._function = piece.function
        return piece.name, self._enter, None

    def leave(self, *, reschedule: bool) -> bool:
        """Leave the innermost set."""
        if len(self._visits) == 1:
            return False
        self._is_rescheduled = reschedule
        visit = self._visits.pop()
        self._guard(visit.owner.on_stop, f"{visit.repertoire.name}.on_stop")
        return True

    def unwind(self) -> None:
        """Leave all sets, from the inside out."""
        while self.leave(reschedule=False):
            pass

    def pause(self) -> object:
        """Return what the innermost `wait` returns; nothing after an `interrupt()` that wants to go on at once."""
        if self._is_rescheduled:
            self._is_rescheduled = False
            return 0
        for visit in reversed(self._visits):
            wait = visit.repertoire.made.wait  # type: ignore[attr-defined]  # a User or a TaskSet
            if wait is not None:
                return wait(visit.owner)
        return 0

    def _enter(self, _owner: None) -> None:
        """Begin the visits that are coming, and call the task that was chosen in the last of them."""
        for visit in self._coming:
            visit.owner = visit.repertoire.made(self._visits[-1].owner)
            try:
                visit.owner.on_start()
            except InterruptTaskSet as left:
                self._visits.append(visit)
                self.leave(reschedule=left.reschedule)
                return
            self._visits.append(visit)
        self._function(self._visits[-1].owner)


def _repertoire(
    made: type, name: str, tags: frozenset[str], wanted: tuple[frozenset[str], frozenset[str]], depth: int = 0
) -> Repertoire | None:
    if depth > DEPTH_MAX:
        raise ValueError(f"{name[:200]}: task sets are nested more than {DEPTH_MAX} deep; does one contain itself?")
    pieces: list[Piece] = []
    weights: list[int] = []
    for task in tasks_of(made):
        within = tags | task.tags
        whole = f"{name}.{task.name}"
        inner = None
        if isinstance(task.function, type) and issubclass(task.function, TaskSet):
            inner = _repertoire(task.function, whole, within, wanted, depth + 1)
            if inner is None:
                continue
        elif not _is_wanted(within, *wanted):
            continue
        pieces.append(Piece(whole, task.function, inner))
        weights.append(task.weight)
    return Repertoire(made, name, pieces, weights) if pieces else None


def _is_wanted(tags: frozenset[str], include: frozenset[str], exclude: frozenset[str]) -> bool:
    return not tags & exclude and (not include or bool(tags & include))


def obey(told: StopUser | InterruptTaskSet, user: User, chooser: Chooser) -> bool:
    """Do what a task raised to have done; return False if there is no set to leave: then it is a mistake."""
    if isinstance(told, StopUser):
        user.is_stopping = True
        return True
    return chooser.leave(reschedule=told.reschedule)

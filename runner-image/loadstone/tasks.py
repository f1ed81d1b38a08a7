"""What a user may do: tasks with weights and tags, sets of tasks within tasks. Choosing one belongs to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, TypeVar, overload

from loadstone.flow import InterruptTaskSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loadstone.http import HttpClient

    Listed = Sequence[Any] | Mapping[Any, int]

_F = TypeVar("_F", bound="Callable[..., object]")
_WEIGHT = "_loadstone_weight"
_TAGS = "_loadstone_tags"
_LISTED = "_loadstone_listed"
_CO_COROUTINE = 0x80 | 0x200  # code flags of `async def`, with and without yield


class Task(NamedTuple):
    """Something that one iteration may call.

    Attributes:
        name: of the method, function or set.
        function: takes the user or the set that it belongs to; or a subclass of TaskSet.
        weight: how often it is chosen beside the others; in a sequence, how often in a row.
        tags: its own; those of the sets around it count for it, too.
    """

    name: str
    function: Callable[[Any], object]
    weight: int
    tags: frozenset[str] = frozenset()


@overload
def task(weight: _F, /) -> _F: ...
@overload
def task(weight: int = 1, /) -> Callable[[_F], _F]: ...
def task(weight: _F | int = 1, /) -> _F | Callable[[_F], _F]:
    """Mark a method as a task: `@task`, or `@task(3)` to choose it three times as often as one of weight 1.

    A TaskSet defined within the class can be marked, too.

    Raises:
        ValueError: the weight is no whole number from 0 on (0 switches the task off), or the function is `async`.
    """
    if callable(weight):
        return _marked(weight, 1)
    _check_weight(weight, "@task")
    return lambda function: _marked(function, weight)


def tag(*tags: str) -> Callable[[_F], _F]:
    """Give a task or a task set tags, by which a LoadTest may choose: `@tag("checkout", "slow")`.

    Tags of a set count for everything in it. They choose tasks; they are no labels of metrics.

    Raises:
        ValueError: there is none, or one is empty or no text.
    """
    if not tags or not all(isinstance(each, str) and each for each in tags):  # type: ignore[redundant-expr]  # what scripts give
        raise ValueError("@tag: give at least one name, as in @tag('checkout')")

    def mark(function: _F) -> _F:
        setattr(function, _TAGS, vars(function).get(_TAGS, frozenset()) | frozenset(tags))
        return function

    return mark


class TaskSet:
    """Tasks that belong together. A user that chooses the set stays in it until one of its tasks says `interrupt()`.

    Use it as a task: mark an inner class with `@task`, or name it in `tasks`. Sets may be nested to any depth; each
    visit makes a new object.

    Attributes:
        tasks: as those of `User`.
        wait: between the iterations in this set; None: that of the set or user around it. Called with the set.
        parent: the user or the set around this one.
        user: whose visit this is.
        http: the user's client.
    """

    tasks: ClassVar[Listed] = ()
    wait: ClassVar[Callable[[Any], float] | None] = None
    parent: Any
    user: Any

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.user = parent.user if isinstance(parent, TaskSet) else parent

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Collect the tasks."""
        super().__init_subclass__(**arguments)
        collect(cls)

    def on_start(self) -> None:
        """Run at the beginning of each visit, as part of its first iteration."""

    def on_stop(self) -> None:
        """Run at the end of each visit: by `interrupt()`, or because the user ends."""

    def interrupt(self, reschedule: bool = True) -> NoReturn:  # noqa: FBT001, FBT002 as Locust users write it
        """Leave this set; the task that says so is completed. Without `reschedule` the usual pause comes first."""
        raise InterruptTaskSet(reschedule=reschedule)

    @property
    def http(self) -> HttpClient:
        """The user's HTTP client."""
        client: HttpClient = self.user.http
        return client

    @property
    def client(self) -> HttpClient:
        """`http`, under Locust's name."""
        return self.http

    @property
    def iteration(self) -> int:
        """The user's `iteration`."""
        number: int = self.user.iteration
        return number

    @property
    def iteration_start_ns(self) -> int:
        """The user's; for `constant_pacing`."""
        begin: int = self.user.iteration_start_ns
        return begin

    @property
    def pace_ns(self) -> int:
        """The user's; for `constant_pacing`."""
        pace: int = self.user.pace_ns
        return pace

    @pace_ns.setter
    def pace_ns(self, pace_ns: int) -> None:
        self.user.pace_ns = pace_ns


def collect(cls: type) -> None:
    """Work out the tasks of a class that was just defined, and understand Locust's name for `wait`.

    Raises:
        ValueError: what `tasks` lists is no task, a weight is wrong, or `wait` and `wait_time` are both there.
    """
    own = vars(cls)
    if "wait_time" in own:
        if "wait" in own:
            raise ValueError(f"{cls.__name__}: wait_time is another name for wait; give one of them")
        cls.wait = own["wait_time"]  # type: ignore[attr-defined]  # a User or a TaskSet, which have it
    if "tasks" in own:
        setattr(cls, _LISTED, tuple(_listed(cls, own["tasks"])))
    cls.tasks = tasks_of(cls)  # type: ignore[attr-defined]  # the same


def tasks_of(cls: type) -> tuple[Task, ...]:
    """Return the tasks that a class has: listed ones, then methods as they are defined; each with its bases' first."""
    listed = [each for one in reversed(cls.__mro__) for each in vars(one).get(_LISTED, ())]
    names: dict[str, None] = {}
    for one in reversed(cls.__mro__):
        for name, value in vars(one).items():
            if _weight_of(value) is not None:
                names[name] = None
    # A subclass may override a task with a plain method or None, which is none any more.
    found = ((name, getattr(cls, name)) for name in names)
    methods = [Task(name, value, _weight_of(value) or 0, _tags_of(value)) for name, value in found]
    return tuple(each for each in (*listed, *methods) if each.weight)


def _listed(cls: type, tasks: Listed) -> Iterable[Task]:
    """Return what `tasks` of a class names: a sequence, or a mapping to weights."""
    for each, weight in tasks.items() if isinstance(tasks, Mapping) else ((each, 1) for each in tasks):
        if isinstance(each, Task):
            yield each
        elif callable(each):
            _check_weight(weight, f"{cls.__name__}.tasks")
            _check_plain(each)
            yield Task(getattr(each, "__name__", "task"), each, weight, _tags_of(each))
        else:
            raise ValueError(f"{cls.__name__}.tasks: {each!r} is neither a function nor a TaskSet")  # noqa: TRY004 as documented


def _marked(function: _F, weight: int) -> _F:
    _check_plain(function)
    setattr(function, _WEIGHT, weight)
    return function


def _weight_of(value: object) -> int | None:
    # The mark of a set is not that of its subclasses.
    held = vars(value) if isinstance(value, type) else getattr(value, "__dict__", {})
    return held.get(_WEIGHT)


def _tags_of(value: object) -> frozenset[str]:
    found: frozenset[str] = getattr(value, _TAGS, frozenset())
    return found


def _check_weight(weight: object, where: str) -> None:
    if not isinstance(weight, int) or weight < 0:
        raise ValueError(f"{where}: give a weight, a whole number from 0 on, not {weight!r}")


def _check_plain(function: object) -> None:
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _CO_COROUTINE:
        raise ValueError(f"{code.co_name} is async: tasks are plain functions, and waiting in them lets others run")


class SequentialTaskSet(TaskSet):
    """A set whose tasks come in the order in which they are written, again and again until `interrupt()`."""

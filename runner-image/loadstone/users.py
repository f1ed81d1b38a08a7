"""What a user is: a class with tasks, a pause between them, and its own client. Running users belongs to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, overload

from loadstone.options import DEFAULT as DEFAULT_OPTIONS
from loadstone.waits import constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone.http import HttpClient
    from loadstone.options import HttpOptions

_F = TypeVar("_F", bound="Callable[..., object]")
_WEIGHT = "_loadstone_weight"


class Task(NamedTuple):
    """A method that one iteration may call."""

    name: str
    function: Callable[[Any], object]
    weight: int


@overload
def task(weight: _F, /) -> _F: ...
@overload
def task(weight: int = 1, /) -> Callable[[_F], _F]: ...
def task(weight: _F | int = 1, /) -> _F | Callable[[_F], _F]:
    """Mark a method as a task: `@task`, or `@task(3)` to choose it three times as often as one of weight 1.

    Raises:
        ValueError: the weight is no whole number from 0 on; 0 switches the task off.
    """
    if callable(weight):
        return _marked(weight, 1)
    if weight < 0:
        raise ValueError(f"@task({weight!r}): give a weight, a whole number from 0 on")
    return lambda function: _marked(function, weight)


def _marked(function: _F, weight: int) -> _F:
    setattr(function, _WEIGHT, weight)
    return function


class User:
    """One virtual user. Subclass it, give it tasks, and set what differs from the defaults.

    In the users and iterations models a user runs one task after another with `wait` in between; in the rate model
    iterations come when they are due, on whichever user is free, and `wait` does nothing.

    Attributes:
        wait: called with the user after each iteration, returns seconds: `between(1, 3)` or a method. Default: none.
        weight: of this class among the script's classes, when users are divided among them.
        fixed_count: this many users of the whole load are of this class; weights divide the rest. 0: no such claim.
        host: base URL of this class when the LoadTest has no `load.target`.
        http_options: how this class speaks HTTP, see `HttpOptions`; subclasses inherit it.
        abstract: True for a class that only serves as a base; not inherited.
        tasks: filled in from the methods marked with `@task`, bases first.
        http: this user's HTTP client, with connections of its own.
        target: base URL that paths are relative to.
        setup_data: what the script's setup function returned, or None; the same for all users, as JSON carries it.
        number: of this user, unique in the whole load, from 0.
        iteration: number of the running iteration: of the whole load in the rate and iterations models, else this
            user's own, from 0.
    """

    wait: ClassVar[Callable[[Any], float]] = constant(0)
    weight: ClassVar[int] = 1
    fixed_count: ClassVar[int] = 0
    host: ClassVar[str | None] = None
    http_options: ClassVar[HttpOptions] = DEFAULT_OPTIONS
    abstract: ClassVar[bool] = True
    tasks: ClassVar[tuple[Task, ...]] = ()

    http: HttpClient
    target: str = ""
    setup_data: Any = None
    number: int = 0
    iteration: int = 0
    iteration_start_ns: int = 0  # monotonic; kept by the engine for `wait`, if there is one
    pace_ns: int = 0  # where `constant_pacing` is on its grid
    is_stopping: bool = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Collect the tasks and forget an `abstract` that was meant for the base."""
        super().__init_subclass__(**arguments)
        if "abstract" not in cls.__dict__:
            cls.abstract = False
        cls.tasks = _tasks_of(cls)

    def on_start(self) -> None:
        """Run once, before this user's first iteration. Its requests belong to the load."""

    def on_stop(self) -> None:
        """Run once, after this user's last iteration, also when that was cut off."""

    def stop(self) -> None:
        """End this user after the running iteration; nobody takes its place."""
        self.is_stopping = True


def _tasks_of(cls: type[User]) -> tuple[Task, ...]:
    """Return the tasks that a class has, in order of definition, with those of its bases first."""
    names: dict[str, None] = {}
    for one in reversed(cls.__mro__):
        for name, value in vars(one).items():
            if hasattr(value, _WEIGHT):
                names[name] = None
    found = ((name, getattr(cls, name)) for name in names)
    # A subclass may override a task with a plain method or None, which is none any more.
    tasks = (Task(name, function, getattr(function, _WEIGHT, 0)) for name, function in found)
    return tuple(each for each in tasks if each.weight)

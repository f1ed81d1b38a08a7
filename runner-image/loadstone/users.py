"""What a user is: a class with tasks, a pause between them, and its own client. Running users belongs to the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from loadstone.options import DEFAULT as DEFAULT_OPTIONS
from loadstone.tasks import collect
from loadstone.waits import constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone.http import HttpClient
    from loadstone.options import HttpOptions
    from loadstone.tasks import Listed


class User:
    """One virtual user. Subclass it, give it tasks, and set what differs from the defaults.

    In the users and iterations models a user runs one task after another with `wait` in between; in the rate model
    iterations come when they are due, on whichever user is free, and `wait` does nothing.

    Attributes:
        wait: called with the user after each iteration, returns seconds: `between(1, 3)` or a method. Default: none.
            `wait_time` is another name for it.
        weight: of this class among the script's classes, when users are divided among them.
        fixed_count: this many users of the whole load are of this class; weights divide the rest. 0: no such claim.
        host: base URL of this class when the LoadTest has no `load.target`.
        http_options: how this class speaks HTTP, see `HttpOptions`; subclasses inherit it.
        abstract: True for a class that only serves as a base; not inherited.
        tasks: functions and task sets beside the methods marked with `@task`: a list, or a mapping to weights.
        http: this user's HTTP client, with connections of its own; `client` is another name for it.
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
    tasks: ClassVar[Listed] = ()

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
        collect(cls)

    def on_start(self) -> None:
        """Run once, before this user's first iteration. Its requests belong to the load."""

    def on_stop(self) -> None:
        """Run once, after this user's last iteration, also when that was cut off."""

    def stop(self) -> None:
        """End this user after the running iteration; nobody takes its place. `raise StopUser` ends that as well."""
        self.is_stopping = True

    @property
    def client(self) -> HttpClient:
        """`http`, under Locust's name."""
        return self.http

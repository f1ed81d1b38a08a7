"""The laps of a user: choose a task, call it, record the iteration, let the others have their turn.

The flavour that needs no compiler. Starting and ending a user, and its pauses, belong to `native`.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from random import random
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

import gevent

from loadstone import InterruptTaskSet, StopUser
from loadstone_runner.engine.tasks import obey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadstone import User
    from loadstone_runner.engine.http.client import HttpClient
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.tasks import Chooser


class Turns(Protocol):
    """Where users get their iterations from: the model of the load.

    Attributes:
        has_pauses: whether users wait between iterations.
        is_free: a user may always begin another iteration, until it is retired: nobody needs to be asked.
        gives_way: `next_turn` always lets others run.
    """

    has_pauses: bool
    is_free: bool
    gives_way: bool

    def next_turn(self, seat: Any) -> bool:
        """Set a user's next iteration, waiting for it if need be; False: there is none any more."""
        ...

    def started(self, begin_ns: int, due_ns: int) -> None:
        """Hear that an iteration has begun."""
        ...

    def abandoned(self) -> None:
        """Hear that a user has ended with an iteration that it has not begun."""
        ...


class Tasks:
    """The tasks of a class of users that has no task sets, each chosen as often as its weight says."""

    __slots__ = ("_cumulative", "_tasks", "_total")

    def __init__(self, tasks: Iterable[tuple[str, Callable[[Any], object]]], weights: Iterable[int]) -> None:
        self._tasks = list(tasks)
        self._cumulative = list(accumulate(weights))
        self._total = self._cumulative[-1]

    def choose(self) -> tuple[str, Callable[[Any], object]]:
        """Return name and function of a task."""
        tasks = self._tasks
        if len(tasks) == 1:
            return tasks[0]
        return tasks[bisect_right(self._cumulative, random() * self._total)]  # noqa: S311 a choice of a task is no secret


class Runner:
    """The fields of a seat that its laps need, and the laps; the rest is `native.Seat`.

    Attributes:
        count: iterations begun.
        greenlet: that lives the life.
        has_quit: its user has ended by itself: by `stop()` or StopUser, or by an error in on_start.
        has_work: it was given an iteration that it has not begun.
        is_gone: it begins no iteration any more.
        is_listed: whoever gives iterations knows that it is free.
        is_resting: its greenlet waits until `end_rest`.
        is_retired: no further iteration is wanted of it.
        work_due_ns: when the given iteration should start, on the monotonic clock; 0: when the user comes to it.
        work_number: of the given iteration; see `User.iteration`.
    """

    __slots__ = (
        "_chooser", "_has_wait", "_instruments", "_is_killed", "_tasks", "_turns", "client", "count", "greenlet",
        "has_quit", "has_work", "is_gone", "is_listed", "is_resting", "is_retired", "work_due_ns", "work_number",
    )  # fmt: skip

    _chooser: Chooser | None  # there from `_enter` on, if that returns a user
    _has_wait: bool
    _instruments: Instruments
    _is_killed: bool
    _tasks: Tasks | None  # what the hot path chooses from; None: only the chooser knows
    _turns: Turns
    client: HttpClient
    count: int
    greenlet: gevent.Greenlet[[], None]
    has_quit: bool
    has_work: bool
    is_gone: bool
    is_listed: bool
    is_resting: bool
    is_retired: bool
    work_due_ns: int
    work_number: int

    @property
    def instruments(self) -> Instruments:
        """What the user's doings are recorded with."""
        return self._instruments

    def _enter(self) -> User | None:
        """Return the user, with a chooser; None if there is none to do iterations."""
        raise NotImplementedError

    def _leave(self, user: User | None) -> None:
        """End the user, whatever ended its iterations."""
        raise NotImplementedError

    def _pause(self, chooser: Chooser) -> None:
        """Let the time between two iterations pass."""
        raise NotImplementedError

    def _live(self) -> None:
        """Live the life of a user."""
        user: User | None = None
        try:
            user = self._enter()
            if user is not None and self._chooser is not None:
                self._run(user, self._chooser)
        except gevent.GreenletExit:
            pass  # the end of the run: what it cut off is recorded where it was cut off
        self.is_gone = True
        self._leave(user)

    def end_rest(self) -> None:
        """Run in the hub: let the user go on if it rests."""
        if self.is_resting:
            self.is_resting = False
            self.greenlet.switch()

    def _run(self, user: User, chooser: Chooser) -> None:
        turns = self._turns
        is_free = turns.is_free
        pauses = turns.has_pauses and self._has_wait
        while True:
            if is_free:
                self.work_number = self.count
            if self.is_retired if is_free else not turns.next_turn(self):
                return
            exchanges = self.client.exchanges
            self._iterate(user, chooser)
            if user.is_stopping:
                self.has_quit = True
                return
            if pauses and not self.is_retired:
                self._pause(chooser)
            if self.client.exchanges == exchanges and not turns.gives_way:
                # Nothing in it has waited for a socket, and the other users want to live, too.
                gevent.sleep(0)

    def _iterate(self, user: User, chooser: Chooser) -> None:
        name, function, owner = chooser.next() if self._tasks is None else (*self._tasks.choose(), user)
        instruments, client = self._instruments, self.client
        instruments.begin_iteration()
        begin = monotonic_ns()
        if self._has_wait:
            user.iteration_start_ns = begin
        user.iteration = self.work_number
        self.count += 1
        planned = self.work_due_ns or begin
        client.start_delay_ns = begin - planned
        if self.count == 1 or not self._turns.is_free:
            self._turns.started(begin, planned)
        failed = False
        try:
            try:
                function(owner)
            except (StopUser, InterruptTaskSet) as told:
                if not obey(told, user, chooser):
                    raise
        except BaseException as error:
            if self._is_killed and isinstance(error, gevent.GreenletExit):
                client.settle()
                instruments.end_iteration(
                    name, monotonic_ns() - planned, failed=False, interrupted=True, scenario=client.scenario
                )
                raise
            failed = True
            instruments.exception(error, name)
        client.settle()
        client.start_delay_ns = 0
        instruments.end_iteration(
            name, monotonic_ns() - planned, failed=failed, interrupted=False, scenario=client.scenario
        )

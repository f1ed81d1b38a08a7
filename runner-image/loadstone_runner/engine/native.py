"""Live the life of one user of a native script: start, iterations and pauses, stop.

How many users there are belongs to `population`, when iterations are due to its models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent import get_hub

from loadstone import StopUser, User
from loadstone_runner.engine.http.outfit import Outfit
from loadstone_runner.engine.path import HttpClient, Runner, Tasks
from loadstone_runner.engine.path.laps import Turns
from loadstone_runner.engine.tasks import make_chooser, repertoire_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_runner.engine.http.resolution import Resolver
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.tasks import Chooser, Repertoire

__all__ = ["Role", "Scene", "Seat", "Turns"]

_PAUSE_MAX_SECONDS: Final = 1e9
# After a pause that could not be found out: neither a busy loop nor the end of the user.
_PAUSE_AFTER_ERROR_SECONDS: Final = 1.0


class Role:
    """What all users of one class have in common, worked out once."""

    __slots__ = ("has_wait", "made", "name", "repertoire", "tasks")

    def __init__(self, made: type[User], repertoire: Repertoire | None = None) -> None:
        """Take a class and what its users may choose from; None: everything that it has."""
        self.made = made
        self.name = made.__name__
        self.repertoire = repertoire or repertoire_of(made)
        # Whoever says nothing does not wait, so nobody needs to be asked for how long; a set may say something.
        self.has_wait = made.wait is not User.wait or not self.repertoire.is_flat
        # Through sets leads only a chooser: whoever has any cannot choose on the hot path.
        functions = ((piece.name, piece.function) for piece in self.repertoire.pieces)
        self.tasks = Tasks(functions, self.repertoire.weights) if self.repertoire.is_flat else None


class Scene(NamedTuple):
    """What all users of one engine share.

    Attributes:
        roles: the script's classes.
        target: of the LoadTest; empty: each class's own `host`.
        setup_data: what setup returned.
        outfits: of clients, by target and class.
    """

    roles: tuple[Role, ...]
    target: str
    setup_data: Any
    instruments: Instruments
    resolver: Resolver
    outfits: dict[tuple[str, type[User]], Outfit]

    def outfit_of(self, made: type[User]) -> Outfit:
        """Return what the clients of a class share.

        Raises:
            ValueError: its options cannot be used.
        """
        target = self.target or made.host or ""
        held = self.outfits.get((target, made))
        if held is None:
            try:
                held = self.outfits[(target, made)] = Outfit(target, made.http_options)
            except ValueError as error:
                raise ValueError(f"{made.__name__}.http_options: {error}") from error
        return held

    def client_for(self, made: type[User]) -> HttpClient:
        """Return a new client for a user of a class."""
        client = HttpClient(self.outfit_of(made), self.instruments, self.resolver)
        client.scenario = self.instruments.scenario
        return client


class Seat(Runner):
    """One user's place in the population; the attributes that its laps need as well are those of `Runner`.

    Attributes:
        index: of the seat in this engine.
    """

    __slots__ = ("_is_in_on_stop", "_number", "_role", "_scene", "index")

    def __init__(self, index: int, number: int, *, role: Role, scene: Scene, turns: Turns, hold: bool = False) -> None:
        self.index = index
        self.is_retired = False
        self.has_quit = False
        self.has_work = self.is_gone = self.is_listed = self.is_resting = False
        self.work_number = self.work_due_ns = self.count = 0
        self._number = number
        self._role = role
        self._scene = scene
        self._turns = turns
        self._instruments = scene.instruments
        self._is_killed = self._is_in_on_stop = False
        self._tasks = role.tasks
        self._has_wait = role.has_wait
        self._chooser = None
        self.client = scene.client_for(role.made)
        self.greenlet = gevent.Greenlet(self._live)
        self.greenlet.seat = self  # type: ignore[attr-defined]  # whoever records finds whose it is
        if not hold:
            self.greenlet.start()

    def retire(self) -> None:
        """Let the user end after its iteration; a pause ends now."""
        self.is_retired = True
        self.rouse()

    def kill(self) -> None:
        """End the running iteration now; a second time also on_stop, whether or not it had begun by itself before."""
        is_first = not self._is_killed
        self.is_retired = True
        self._is_killed = self.is_gone = True
        # Behind those that were roused in this turn of the loop, and go to on_stop by themselves.
        get_hub().loop.run_callback(self._cut, is_first)

    def _cut(self, is_first: bool) -> None:  # noqa: FBT001 called by position
        if not (is_first and self._is_in_on_stop):
            self.greenlet.kill(block=False)

    def rest(self, seconds: float | None) -> None:
        """Wait so long, or (None) until `rouse`."""
        hub = get_hub()
        self.is_resting = True
        timer = None if seconds is None else hub.loop.timer(seconds)
        if timer is not None:
            timer.start(self.end_rest, update=True)
        try:
            while self.is_resting:
                hub.switch()
        finally:
            self.is_resting = False
            if timer is not None:
                timer.close()

    def rouse(self) -> None:
        """End a rest, if there is one when the loop comes to it."""
        get_hub().loop.run_callback(self.end_rest)

    def _enter(self) -> User | None:
        """Return the user; None if there is none to do iterations."""
        user = self._start()
        if user is None:
            self.has_quit = True
        else:
            self._chooser = make_chooser(self._role.repertoire, user, self._guard)
        return user

    def _leave(self, user: User | None) -> None:
        """End the user, whatever ended its iterations."""
        try:
            if user is not None:
                if self._chooser is not None:
                    self._chooser.unwind()
                self._is_in_on_stop = True
                self._guard(user.on_stop, f"{self._role.name}.on_stop")
        except gevent.GreenletExit:
            pass  # on_stop had its time
        finally:
            self.client.settle()
            self.client.close()

    def _start(self) -> User | None:
        """Return the user, ready for its first iteration; None if the script's own code did not let it come so far."""
        made: list[User] = []
        if not self._guard(lambda: made.append(self._role.made()), f"{self._role.name}.__init__"):
            return None
        user = made[0]
        user.http = self.client
        user.target = self._scene.target or self._role.made.host or ""
        user.setup_data = self._scene.setup_data
        user.number = self._number
        return user if self._guard(user.on_start, f"{self._role.name}.on_start") else None

    def _pause(self, chooser: Chooser) -> None:
        seconds = _PAUSE_AFTER_ERROR_SECONDS
        try:
            seconds = _checked_pause(chooser.pause())
        except (Exception, SystemExit) as error:  # noqa: BLE001 user code
            self._instruments.exception(error, f"{self._role.name}.wait")
        if seconds > 0:
            self.rest(seconds)

    def _guard(self, function: Callable[[], object], what: str) -> bool:
        """Call user code outside of iterations; return whether it went through."""
        try:
            function()
        except StopUser:
            return False
        except BaseException as error:
            if self._is_killed and isinstance(error, gevent.GreenletExit):
                raise
            self._instruments.exception(error, what)
            return False
        finally:
            self.client.settle()
        return True


def _checked_pause(told: object) -> float:
    seconds = float(told)  # type: ignore[arg-type]  # whatever the script returned: what is no number raises
    if not seconds >= 0:
        raise ValueError(f"wait returned {told}; it must return seconds from 0 on")
    return min(seconds, _PAUSE_MAX_SECONDS)

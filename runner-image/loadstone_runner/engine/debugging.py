"""Run one user of a script in the foreground, unpatched, and print each thing that it does: for people and debuggers.

Populations, statistics and the agent play no part; the user's code cannot tell the difference.
"""

from __future__ import annotations

import json
import sys
import traceback
from bdb import BdbQuit
from collections import defaultdict
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone import InterruptTaskSet, Message, Place, Receipt, StopUser, seat
from loadstone.hooks import setup_function, teardown_function
from loadstone.messages import Answer, Status, handlings
from loadstone_core.stats.metrics import FEEDER_ERROR, METRIC_ERROR, storable
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.director import DirectedRun
from loadstone_runner.engine.http.outfit import Outfit
from loadstone_runner.engine.http.resolution import Resolver
from loadstone_runner.engine.measuring import Services
from loadstone_runner.engine.path import HttpClient, Instruments
from loadstone_runner.engine.payloads import decode, encode
from loadstone_runner.engine.script import ScriptError, load_script, users_of
from loadstone_runner.engine.tasks import Piece, Repertoire, make_chooser, obey, repertoire_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loadstone import Run, User
    from loadstone.messages import Sender, To
    from loadstone.metrics import MetricKind
    from loadstone_runner.engine.tasks import Chooser

EXIT_FINE: Final = 0
EXIT_TROUBLE: Final = 1
EXIT_UNUSABLE: Final = 2
_MILLI: Final = 1_000_000
_SHOWN_MAX: Final = 500


class Watched(Services):
    """The services of a user that is being looked at: everything is recorded as ever, and printed.

    Attributes:
        troubles: what went wrong: failed requests, checks that did not hold, exceptions, errors.
        sender: who sends messages now.
    """

    __slots__ = ("_given", "_seen", "sender", "stopped", "troubles")

    def __init__(self, instruments: Instruments) -> None:
        super().__init__(instruments)
        self.troubles = 0
        self.stopped = ""
        self.on_send = self._send_message
        self.sender: Sender = "director"
        self._given: defaultdict[str, int] = defaultdict(int)
        self._seen = 0
        self.rows = self._next_row
        self.on_stop = self._note_stop
        instruments.on_request = self._show_request

    def record(self, kind: MetricKind, name: str, value: object, labels: Mapping[str, object]) -> None:
        """Record and print a sample of the script's own metric."""
        say(f"  {kind} {name} = {value!r}{_braced(labels)}")
        super().record(kind, name, value, labels)
        self.show_errors()

    def count_error(self, kind: str, message: str, name: str) -> None:
        """Print something that went wrong and raised nothing."""
        super().count_error(kind, message, name)
        self.show_errors()

    def show_exception(self, error: BaseException, where: str) -> None:
        """Print what the script raised."""
        self.troubles += 1
        say(f"  {where} raised:")
        text = "".join(traceback.format_exception(type(error), error, _first_own(error)))
        say("".join(f"    {line}\n" for line in text.splitlines()).rstrip("\n"))

    def show_errors(self) -> None:
        """Print errors that were counted and not yet shown; those of requests were shown with them."""
        errors = [each for each in self._instruments.recorder.errors() if each.kind in {METRIC_ERROR, FEEDER_ERROR}]
        counted = sum(each.count for each in errors)
        if counted > self._seen:
            self._seen = counted
            self.troubles += 1
            say(f"  {errors[0].kind} error in {errors[0].name}: {errors[0].message}")

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> None:
        """Record and print a check."""
        super().check(name, ok=ok, labels=labels)
        self.troubles += not ok
        say(f"  check {'holds' if ok else 'FAILED'}: {name}{_braced(labels)}")

    def _show_request(self, *told: Any) -> None:
        method, name, latency_ns, received, error, status, url, _context = told
        self.troubles += error is not None
        what = f"{method} {name}" + (f" ({url})" if url and not url.endswith(name) else "")
        code = f"{status or '---'} " if url else ""
        failure = f"  FAILED: {error}" if error is not None else ""
        say(f"  {what} {code}{latency_ns / _MILLI:.1f} ms, {received} bytes{failure}")

    def _next_row(self, feeder: str, _count: int) -> int:
        self._given[feeder] += 1
        return self._given[feeder] - 1

    def _send_message(self, name: str, data: Any, to: To | None) -> Handled:
        """Handle a message here and now, so that a debugger can follow it, whoever it is for."""
        payload = encode(data)
        say(f"  message {name!r} to {to if to is not None else 'the other side'}: {data!r}"[:_SHOWN_MAX])
        handling = next((each for each in handlings() if each.name == name), None)
        if handling is None:
            say("    nothing handles it: see @on_message")
            return Handled(Answer(None, Status.REJECTED, f"nothing handles messages of the name {name!r}"))
        try:
            result = decode(encode(handling.function(Message(name, decode(payload), self.sender))))
        except Exception as error:  # noqa: BLE001 user code
            self.show_exception(error, f"the handler of {name!r}")
            return Handled(Answer(None, Status.FAILED, f"{type(error).__name__}: {error}"))
        say(f"    handled, result {result!r}"[:_SHOWN_MAX])
        return Handled(Answer(None, Status.PROCESSED, result=result))

    def _note_stop(self, why: str) -> None:
        self.stopped = why
        say(f"  the script stops the run: {why}")


class Handled(NamedTuple):
    """A message that was handled when it was sent; a `loadstone.messages.Delivery`."""

    answer: Answer

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of it."""
        return True

    def wait(self, timeout: float | None = None) -> Receipt:  # noqa: ARG002 there is nothing to wait for
        """Return what became of it."""
        return Receipt(self.answer.status, self.answer.reason, (self.answer,))


def debug_file(path: str, *, user: str | None, target: str, iterations: int, task: str | None) -> int:
    """Load a script's file and run one user of it; return the exit code."""
    file = Path(path).absolute()
    try:
        script = load_script(str(file.parent), file.name)
        made = _named(script.users, user, task)
        fine = debug_class(made, target=target, iterations=iterations, task=task)
    except (ScriptError, ValueError) as error:
        say(str(error))
        if isinstance(error, ScriptError) and error.trace:
            say(error.trace)
        return EXIT_UNUSABLE
    except BdbQuit:
        return EXIT_TROUBLE
    return EXIT_FINE if fine else EXIT_TROUBLE


def debug_class(user: type[User] | None, *, target: str, iterations: int, task: str | None) -> bool:
    """Run one user of a class, or of the first one in the program's own file; return whether all went well.

    Raises:
        ValueError: there is no such task, or no user class.
    """
    made = user or _named(_users_of_main(), None, task)
    repertoire = _narrowed(repertoire_of(made), task) if task else repertoire_of(made)
    instruments = Instruments(CounterFile(""))
    watched = Watched(instruments)
    seat.take(watched)
    base = target or made.host or ""
    run = DirectedRun(base, instruments)
    try:
        if _once(setup_function(), run, "setup", watched):
            watched.sender = Place(0)
            _Foreground(made, repertoire, base, watched, instruments, run.setup_data).run(iterations)
            watched.sender = "director"
            _once(teardown_function(), run, "teardown", watched)
    finally:
        seat.take(None)
    say("all went well" if not watched.troubles else f"{watched.troubles} things went wrong")
    return not watched.troubles


class _Foreground:
    """One user, its sets and its client, in the main greenlet."""

    def __init__(
        self,
        made: type[User],
        repertoire: Repertoire,
        target: str,
        watched: Watched,
        instruments: Instruments,
        setup_data: Any,
    ) -> None:
        self._made = made
        self._repertoire = repertoire
        self._target = target
        self._watched = watched
        self._setup_data = setup_data
        self._client = HttpClient(Outfit(target, made.http_options), instruments, Resolver())

    def run(self, iterations: int) -> None:
        """Let the user live through so many iterations."""
        made: list[User] = []
        name = self._made.__name__
        try:
            if not self._guard(lambda: made.append(self._made()), f"{name}.__init__"):
                return
            user = made[0]
            user.http, user.target, user.setup_data = self._client, self._target, self._setup_data
            if self._guard(user.on_start, f"{name}.on_start"):
                chooser = make_chooser(self._repertoire, user, self._guard)
                self._iterate(user, chooser, iterations)
                chooser.unwind()
            self._guard(user.on_stop, f"{name}.on_stop")
        finally:
            self._client.close()

    def _iterate(self, user: User, chooser: Chooser, iterations: int) -> None:
        for number in range(iterations):
            name, function, owner = chooser.next()
            say(f"{name} (iteration {number})")
            user.iteration = number
            user.iteration_start_ns = monotonic_ns()
            try:
                try:
                    function(owner)
                except (StopUser, InterruptTaskSet) as told:
                    if not obey(told, user, chooser):
                        raise
            except BdbQuit:
                raise  # who quits a debugger wants no more of it
            except (Exception, SystemExit) as error:  # noqa: BLE001 what scripts raise is shown; Ctrl-C goes on
                self._watched.show_exception(error, name)
            self._client.settle()
            if user.is_stopping or self._watched.stopped:
                say("  the user stops")
                return
            if number + 1 < iterations:
                self._tell_pause(chooser)

    def _tell_pause(self, chooser: Chooser) -> None:
        try:
            seconds = chooser.pause()
        except Exception as error:  # noqa: BLE001 user code
            self._watched.show_exception(error, f"{self._made.__name__}.wait")
            return
        if seconds:
            say(f"  (a pause of {seconds:.3g} s is left out)" if isinstance(seconds, float | int) else "  (a pause)")

    def _guard(self, function: Callable[[], object], what: str) -> bool:
        try:
            function()
        except StopUser:
            say(f"  {what}: the user stops")
            return False
        except BdbQuit:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 user code
            self._watched.show_exception(error, what)
            return False
        finally:
            self._client.settle()
        return True


def say(line: str) -> None:
    """Print a line now, as a debugger may stop at the next."""
    sys.stdout.write(f"{storable(line)}\n")
    sys.stdout.flush()


def _once(function: Callable[[Run], object] | None, run: DirectedRun, what: str, watched: Watched) -> bool:
    """Run setup or teardown, if there is one; return whether it went through."""
    if function is None:
        return True
    say(f"{what}: {function.__name__}()")
    try:
        result = function(run)
        if what == "setup" and result is not None:
            # As users get it: a tuple is a list by then, and keys are text.
            run.setup_data = json.loads(json.dumps(result, allow_nan=False))
    except Exception as error:  # noqa: BLE001 user code
        watched.show_exception(error, what)
        return False
    finally:
        run.end()
    return True


def _named(users: tuple[type[User], ...], name: str | None, task: str | None) -> type[User]:
    """Return the user class that is meant: by its name, by its having the task, else the first."""
    if not users:
        raise ValueError("there is no User class with tasks here")
    wanted = name or (task.split(".")[0] if task and "." in task else None)
    found = next((each for each in users if each.__name__ == wanted), None)
    if found is None and name is not None:
        raise ValueError(f"there is no User class {name}; there are {', '.join(each.__name__ for each in users)}")
    if found is None and task is not None:
        found = next((each for each in users if any(_matches(piece, task) for piece in _leaves(each))), None)
    return found or users[0]


def _narrowed(repertoire: Repertoire, task: str) -> Repertoire:
    """Return a repertoire with the tasks of one name only, in the sets that they are in."""
    pieces = []
    for piece in repertoire.pieces:
        if piece.inner is None:
            if _matches(piece, task):
                pieces.append(piece)
        elif any(_matches(leaf, task) for leaf in _pieces_of(piece.inner)):
            pieces.append(piece._replace(inner=_narrowed(piece.inner, task)))
    if not pieces:
        known = ", ".join(dict.fromkeys(piece.name for piece in _pieces_of(repertoire)))
        raise ValueError(f"there is no task {task}; there are {known}")
    return Repertoire(repertoire.made, repertoire.name, pieces, [1] * len(pieces))


def _matches(piece: Piece, task: str) -> bool:
    return piece.name == task or piece.name.endswith(f".{task}")


def _leaves(made: type[User]) -> Iterator[Piece]:
    return _pieces_of(repertoire_of(made))


def _pieces_of(repertoire: Repertoire) -> Iterator[Piece]:
    for piece in repertoire.pieces:
        if piece.inner is None:
            yield piece
        else:
            yield from _pieces_of(piece.inner)


def _users_of_main() -> tuple[type[User], ...]:
    return users_of(sys.modules["__main__"])


def _first_own(error: BaseException) -> Any:
    """Return the traceback from the first frame on that is not the engine's."""
    here = str(Path(__file__).parent)
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(here):
        trace = trace.tb_next
    return trace or error.__traceback__


def _braced(labels: Mapping[str, object]) -> str:
    return f" {{{', '.join(f'{name}={value}' for name, value in labels.items())}}}" if labels else ""

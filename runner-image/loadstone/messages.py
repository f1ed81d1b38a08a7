"""Custom messages between the director and the workers, both ways. How they travel and run belongs to the engine.

@on_message("rotate", timeout=10)
def rotate(message):
    credentials.use(message.data["token"])

receipt = send_message("rotate", {"token": new}, to="workers").wait(timeout=30)
"""

from __future__ import annotations

import math
from enum import StrEnum
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeVar

from loadstone import seat

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[[Message], object]")

LANES_MAX: Final = 64
POOL_DEFAULT: Final = 32
POOL_MAX: Final = 256
QUEUE_MAX: Final = 100_000
NAME_MAX: Final = 128
# Flags of code objects, as `inspect` has them, which takes longer to import than all of this.
CO_VARARGS, CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x04, 0x20, 0x80, 0x200


class Place(NamedTuple):
    """One engine of one worker, as `message.sender` says it and `to=` takes it."""

    worker: int
    engine: int = 0

    def __str__(self) -> str:
        """Return it for people."""
        return f"worker {self.worker} engine {self.engine}"


Sender = Literal["director"] | Place
To = Literal["director", "workers"] | int | Place


class Message(NamedTuple):
    """What a handler is given.

    Attributes:
        name: its kind.
        data: as it was sent: JSON values or bytes.
        sender: "director" or the engine's Place; `to=message.sender` answers it.
    """

    name: str
    data: Any
    sender: Sender


class Status(StrEnum):
    """What became of a message."""

    PROCESSED = "processed"
    REJECTED = "rejected"  # no handler has seen it
    FAILED = "failed"  # its handler raised, or took longer than its timeout


class Answer(NamedTuple):
    """What one process says of a message.

    Attributes:
        by: who; None: it went nowhere.
        status: what became of it there.
        reason: why, unless it was processed.
        result: what the handler returned: JSON values or bytes.
    """

    by: Sender | None
    status: Status
    reason: str = ""
    result: Any = None


class Receipt(NamedTuple):
    """What became of a message, wherever it went.

    Attributes:
        status: PROCESSED only if it was processed everywhere; FAILED if a handler failed; else REJECTED.
        reason: of the first answer that is another.
        answers: one for each process that it went to.
    """

    status: Status
    reason: str
    answers: tuple[Answer, ...]

    @property
    def is_processed(self) -> bool:
        """Whether every handler has gone through."""
        return self.status is Status.PROCESSED

    @property
    def result(self) -> Any:
        """What the handler of the first answer returned."""
        return self.answers[0].result if self.answers else None


class Delivery(Protocol):
    """A message on its way. Nobody has to wait for it; what becomes of it is counted there in any case."""

    @property
    def is_done(self) -> bool:
        """Whether it is known what became of the message."""
        ...

    def wait(self, timeout: float | None = None) -> Receipt:
        """Return what became of the message, once that is known; only the caller waits.

        Raises:
            TimeoutError: it is not known within `timeout` seconds; the message stays on its way.
        """
        ...


class Handling(NamedTuple):
    """How messages of one name are handled; see `on_message`."""

    name: str
    function: Callable[[Message], object]
    concurrent: bool
    pool: int
    queue: int
    timeout: float | None
    key: Callable[[Any], object] | None
    overflow: str
    where: str


_HANDLINGS: dict[str, Handling] = {}


def on_message(  # noqa: PLR0913 all but the name are options with defaults
    name: str,
    *,
    concurrent: bool = False,
    pool: int = POOL_DEFAULT,
    queue: int = 1_000,
    timeout: float | None = None,
    key: Callable[[Any], object] | None = None,
    overflow: Literal["reject", "drop_oldest", "block_sender"] = "reject",
    where: Literal["engine", "process"] = "engine",
) -> Callable[[_F], _F]:
    """Call a function of one parameter, a `Message`, for each message of a name that is sent to this process.

    Every name has a lane of its own, beside the load, the reports and the other lanes. What the function returns (JSON
    values or bytes) is the `result` of the answer; if it raises, the message has failed, which is counted.

    Args:
        name: of the messages; one function has it.
        concurrent: False: one message after another, in order. True: up to `pool` at a time.
        pool: how many handlers run at a time, at most 256; all lanes of a process together run 256.
        queue: how many messages may wait.
        timeout: seconds after which a handler is ended; the message has failed then. None: it may take for ever. Code
            that never waits cannot be ended by it, but with `where="process"`; its message fails when it has ended.
        key: with `concurrent`: a function of a message's data; messages of one key are handled one after another, in
            order.
        overflow: what happens to a message that finds the queue full: "reject" tells its sender so, "drop_oldest" takes
            it and rejects the oldest that waits, "block_sender" lets `send_message` wait in its sender until there is
            room.
        where: "process" handles messages, one after another, in a process of their own that has imported the script,
            too: for code that computes for long. Of the engine it has the values of `config` only: data comes in, the
            result goes out, and what needs an engine (checks, metrics, `stop_run`, `send_message`) raises RuntimeError.
            At the timeout it is killed, and made anew for the next message.

    Raises:
        ValueError: the name is taken or an option cannot be meant.
    """
    _check(name, pool, queue, timeout=timeout, overflow=overflow, where=where)
    _check_order(name, concurrent, pool, key=key, where=where)

    def register(function: _F) -> _F:
        _check_function(name, function)
        if name in _HANDLINGS:
            raise ValueError(f"on_message({name!r}): {_HANDLINGS[name].function.__name__} handles it already")
        if len(_HANDLINGS) >= LANES_MAX:
            raise ValueError(f"on_message({name!r}): a script has at most {LANES_MAX} kinds of messages")
        count = pool if concurrent else 1
        _HANDLINGS[name] = Handling(name, function, concurrent, count, queue, timeout, key, overflow, where)
        return function

    return register


def send_message(name: str, data: Any = None, *, to: To | None = None) -> Delivery:
    """Send a message and return at once; `.wait()` on what is returned waits for what became of it.

    It arrives once, in the order of its sender. A receiver that is too slow, or lost, rejects it with the reason; only
    a handler with `overflow="block_sender"` lets this function wait until it has room.

    Args:
        name: says who handles it: `@on_message(name)`.
        data: JSON values, or bytes; at most 256 KiB, and nested 500 deep.
        to: "director", "workers" (every engine of every worker), the number of a worker (every engine of it), or a
            `Place` (one engine). Default: from an engine to the director, from the director to the workers.

    Raises:
        ValueError: name, data or `to` cannot be sent.
        RuntimeError: there is no run: outside of an engine, or in a handler's own process.
    """
    taken = seat.taken
    if taken is None:
        raise RuntimeError("send_message works in a run: in tasks, handlers, listeners, setup and teardown")
    return taken.send_message(name, data, to)


def is_name(name: object) -> bool:
    """Say whether messages may have a name."""
    return isinstance(name, str) and 0 < len(name) <= NAME_MAX and name.isprintable()


def handlings() -> tuple[Handling, ...]:
    """Return how the script handles messages."""
    return tuple(_HANDLINGS.values())


def forget() -> None:
    """Drop all handlers, before another script is loaded into the same process."""
    _HANDLINGS.clear()


def _check(name: str, pool: int, queue: int, *, timeout: float | None, overflow: str, where: str) -> None:
    if callable(name):
        raise ValueError('on_message needs the name of the messages: @on_message("order")')  # noqa: TRY004 as for others
    if not is_name(name):
        raise ValueError(f"on_message({name!r}): a name has 1 to {NAME_MAX} printable characters")
    what = f"on_message({name!r}): "
    if type(pool) is not int or not 1 <= pool <= POOL_MAX:
        raise ValueError(f"{what}pool={pool!r}: give 1 to {POOL_MAX}")
    if type(queue) is not int or not 1 <= queue <= QUEUE_MAX:
        raise ValueError(f"{what}queue={queue!r}: give 1 to {QUEUE_MAX}")
    if timeout is not None and not (type(timeout) in {int, float} and 0 < timeout < math.inf):
        raise ValueError(f"{what}timeout={timeout!r}: give seconds above 0, or None")
    if overflow not in {"reject", "drop_oldest", "block_sender"}:
        raise ValueError(f"{what}overflow={overflow!r}: give reject, drop_oldest or block_sender")
    if where not in {"engine", "process"}:
        raise ValueError(f"{what}where={where!r}: give engine or process")


def _check_order(name: str, concurrent: object, pool: int, *, key: object, where: str) -> None:
    what = f"on_message({name!r}): "
    if type(concurrent) is not bool:
        raise ValueError(f"{what}concurrent={concurrent!r}: give True or False")
    if key is not None and not callable(key):
        raise ValueError(f"{what}key={key!r}: give a function of a message's data")
    if key is not None and not concurrent:
        raise ValueError(f"{what}key= is for concurrent=True; without that all messages are in order")
    if pool != POOL_DEFAULT and not concurrent:
        raise ValueError(f"{what}pool= is for concurrent=True; without that one message is handled after another")
    if where == "process" and concurrent:
        raise ValueError(f"{what}a lane with where='process' handles one message after another")


def _check_function(name: str, function: object) -> None:
    """Refuse what could not be called with a message, or would not do its work when it is."""
    what = f"on_message({name!r}): "
    if isinstance(function, type) or not callable(function):
        raise ValueError(f"{what}give it a function of one parameter, the message")  # noqa: TRY004 as for others
    if not isinstance(function, FunctionType):
        return  # whatever it is, it is called as it is
    code = function.__code__
    if code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR | CO_GENERATOR):
        raise ValueError(
            f"{what}{function.__name__}() is a coroutine or a generator, which nobody runs; write a plain function, "
            "which may wait as it likes"
        )
    needed = code.co_argcount - len(function.__defaults__ or ())
    named = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    if needed > 1 or named or not (code.co_argcount or code.co_flags & CO_VARARGS):
        raise ValueError(f"{what}{function.__name__}() is called with one argument, the message; give it one parameter")

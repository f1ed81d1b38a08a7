"""Start processes for message handlers that compute, when engines ask for them. What they do is not known here.

Each belongs to the process group of its engine and prints where that prints, so it ends with it and needs no care.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Final

from loadstone_runner.launcher.processes import KEPT, become, show_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Program = Callable[[Mapping[str, str]], int]

# Of one engine: as many as it has kinds of messages, each killed and made anew now and then.
STARTS_MAX: Final = 100_000
_REQUEST_MAX: Final = 4_096
# The way to the engine, and the two outputs of that.
_DESCRIPTORS: Final = 3


class LaneStarter:
    """The launcher's ends of the sockets on which its engines ask for processes."""

    __slots__ = ("_environment", "_living", "_program", "_sockets", "_starts")

    def __init__(self, program: Program, environment: Mapping[str, str]) -> None:
        """Start processes that run `program`, which takes the environment and gives the exit code."""
        self._program = program
        self._environment = environment
        self._sockets: dict[int, tuple[socket.socket, int]] = {}  # by descriptor, with the engine's process
        self._starts: dict[int, int] = {}
        self._living: set[int] = set()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return what to poll for reading."""
        return tuple(self._sockets)

    @property
    def processes(self) -> Iterator[int]:
        """Return the processes that live."""
        return iter(self._living)

    def hear(self, asking: socket.socket, engine: int) -> None:
        """Listen to the process of an engine."""
        os.set_blocking(asking.fileno(), False)
        self._sockets[asking.fileno()] = (asking, engine)

    def reaped(self, process: int) -> None:
        """Forget a process that has ended."""
        self._living.discard(process)

    def start_some(self, ready: set[int]) -> None:
        """Start what is asked for on descriptors that can be read.

        In the child this does not return: SystemExit with the exit code of the program leaves through the caller.
        """
        for descriptor in ready & self._sockets.keys():
            asking, engine = self._sockets[descriptor]
            try:
                request, given, _, _ = socket.recv_fds(asking, _REQUEST_MAX, _DESCRIPTORS)
            except BlockingIOError:
                continue
            except OSError:
                request, given = b"", []
            if not request:
                del self._sockets[descriptor]
                asking.close()
            elif len(given) == _DESCRIPTORS:
                self._start(request, given, engine)
            # Not in the child, which has left all of them behind when it ends.
            for each in given:
                os.close(each)

    def _start(self, request: bytes, given: list[int], engine: int) -> None:
        self._starts[engine] = self._starts.get(engine, 0) + 1
        if self._starts[engine] > STARTS_MAX:
            return
        told = {**self._environment, "LOADSTONE_LAUNCHER_FD": str(KEPT)}
        with contextlib.suppress(ValueError, TypeError, KeyError):
            asked = json.loads(request)
            told["LOADSTONE_LANE"] = str(asked["lane"])
        if "LOADSTONE_LANE" not in told:
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            # The engine sees its socket closed, and says that there is no process.
            return
        if pid == 0:
            become(told, parent=parent, writers=given[1:], kept=given[0], group=engine)
            show_as("lane")
            raise SystemExit(self._program(told))
        self._living.add(pid)

"""Start one process of a run: `python -m loadstone_runner ROLE`. Roles are imported only when they are asked for."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loadstone_runner import settings
from loadstone_runner.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXIT_USAGE: Final = 2
EXIT_TERMINATED: Final = 143
# gRPC brings its own TLS; asyncio and hashlib would only load OpenSSL, which is a tenth of an agent's start.
OPENSSL: Final = ("ssl", "_hashlib")

# In a master.
OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000


class Role(NamedTuple):
    """What a process can be.

    Attributes:
        read: finds its settings in the environment.
        load: imports what it is made of; returns what runs it until it ends, and gives its exit code.
    """

    read: Callable[[Mapping[str, str]], Any]
    load: Callable[[], Callable[[Any], int]]


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run the role that the only argument names until it ends; return its exit code."""
    role = arguments[0] if len(arguments) == 1 else ""
    if role not in ROLES:
        return _complain(f"usage: python -m loadstone_runner {'|'.join(ROLES)}")
    if parent := environment.get(settings.PARENT):
        from loadstone_runner.parent_death import end_with

        end_with(int(parent))
    if os.getpid() == 1:
        # The first process of a container ignores a signal that it does not handle: until the role does, who deletes
        # a pod that has just begun would wait for all of its grace.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_TERMINATED))
    return be(role, environment)


def be(role: str, environment: Mapping[str, str]) -> int:
    """Run a role until it ends; return its exit code."""
    # Nothing that is imported is ever garbage; looking for some while it grows is a fifteenth of a start.
    gc.disable()
    try:
        told = ROLES[role].read(environment)
        with Bundle(role):
            run = ROLES[role].load()
        gc.freeze()
        gc.enable()
        return run(told)
    except settings.SettingsError as error:
        return _complain(f"{role}: {error}")


def _load_master() -> Callable[[Any], int]:
    # gRPC's fork handlers cost a lock at every fork, and nothing here forks.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    # gRPC prints a line of its own for every handshake that fails, and anybody can let one fail.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with _Without(OPENSSL):
        from loadstone_runner.master.service import serve
        from loadstone_runner.open_files import raise_open_files
        from loadstone_runner.transport.grpc.loop import run
    # Each worker has two connections.
    raise_open_files()
    # Each second all series of all workers take the place of those before. Looking for cycles among them, every 700
    # objects, takes 100 ms with a thousand workers and never finds one; heartbeats would wait for it.
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)

    return lambda told: run(serve(told))


def _load_agent() -> Callable[[Any], int]:
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    # gRPC prints a line of its own for every connection that its peer closes.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    with _Without(OPENSSL):
        from loadstone_runner.agent.service import serve
        from loadstone_runner.transport.grpc.loop import run

    return lambda told: run(serve(told))


def _load_launcher() -> Callable[[Any], int]:
    from loadstone_runner.launcher.service import supervise

    def program(environment: Mapping[str, str], role: str) -> int:
        return be("lane" if "LOADSTONE_LANE" in environment else role, environment)

    return lambda told: supervise(told, lambda environment: program(environment, told.engine_role))


def _load_engine() -> Callable[[Any], int]:
    from loadstone_runner.engine.process import prepare

    prepare()
    from loadstone_runner.engine.host import serve

    return serve


def _load_director() -> Callable[[Any], int]:
    from loadstone_runner.engine.process import prepare

    prepare()
    from loadstone_runner.engine.director import serve

    return serve


def _load_lane() -> Callable[[Any], int]:
    from loadstone_runner.engine.process import prepare

    prepare()
    from loadstone_runner.engine.lane_process import serve

    return serve


def _load_check() -> Callable[[Any], int]:
    from loadstone_runner.engine.process import prepare

    prepare()
    from loadstone_runner.engine.check import serve

    return serve


def _load_logs() -> Callable[[Any], int]:
    from loadstone_runner.master.log_reading import serve

    return serve


class _Without:
    """A context in which some modules cannot be imported; who is made to live without them does not load them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = [name for name in names if name not in sys.modules]

    def __enter__(self) -> None:
        sys.modules.update(dict.fromkeys(self._names))  # type: ignore[arg-type]  # None is how the absence is told

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            del sys.modules[name]


def _complain(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return EXIT_USAGE


ROLES: Final = {
    "master": Role(settings.read_master, _load_master),
    "agent": Role(settings.read_agent, _load_agent),
    "launcher": Role(settings.read_launcher, _load_launcher),
    "engine": Role(settings.read_engine, _load_engine),
    "director": Role(settings.read_engine, _load_director),
    "lane": Role(settings.read_lane, _load_lane),
    "logs": Role(settings.read_logs, _load_logs),
    "check": Role(settings.read_engine, _load_check),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

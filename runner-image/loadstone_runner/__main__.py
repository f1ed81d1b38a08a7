"""Start one process of a run: `python -m loadstone_runner ROLE`. Roles are imported only when they are asked for."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from loadstone_runner import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXIT_USAGE = 2


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run the role that the only argument names until it ends; return its exit code."""
    role = _ROLES.get(arguments[0]) if len(arguments) == 1 else None
    if role is None:
        return _complain(f"usage: python -m loadstone_runner {'|'.join(_ROLES)}")
    # Nothing that is imported is ever garbage; looking for some while it grows is a fifteenth of a start.
    gc.disable()
    try:
        return role(environment)
    except settings.SettingsError as error:
        return _complain(f"{arguments[0]}: {error}")


def _master(environment: Mapping[str, str]) -> int:
    told = settings.read_master(environment)
    # gRPC's fork handlers cost a lock at every fork, and nothing here forks.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    import asyncio

    from loadstone_runner.master.service import serve

    _collect_from_now_on()
    return asyncio.run(serve(told))


def _agent(environment: Mapping[str, str]) -> int:
    told = settings.read_agent(environment)
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    # gRPC prints a line of its own for every connection that its peer closes.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    import asyncio

    from loadstone_runner.agent.service import serve

    _collect_from_now_on()
    return asyncio.run(serve(told))


def _launcher(environment: Mapping[str, str]) -> int:
    told = settings.read_launcher(environment)
    from loadstone_runner.launcher.service import serve

    _collect_from_now_on()
    return serve(told)


def _engine(environment: Mapping[str, str]) -> int:
    told = settings.read_engine(environment)
    from loadstone_runner.engine.host import serve

    _collect_from_now_on()
    return serve(told)


def _director(environment: Mapping[str, str]) -> int:
    told = settings.read_engine(environment)
    from loadstone_runner.engine.director import serve

    _collect_from_now_on()
    return serve(told)


def _check(environment: Mapping[str, str]) -> int:
    told = settings.read_engine(environment)
    from loadstone_runner.engine.check import serve

    _collect_from_now_on()
    return serve(told)


def _collect_from_now_on() -> None:
    """Let the collector work again, without what is there already."""
    gc.freeze()
    gc.enable()


def _complain(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return EXIT_USAGE


_ROLES: dict[str, Callable[[Mapping[str, str]], int]] = {
    "master": _master,
    "agent": _agent,
    "launcher": _launcher,
    "engine": _engine,
    "director": _director,
    "check": _check,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

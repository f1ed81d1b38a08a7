"""Run a script as a plain Python program with one user, to see what it does. How that is done belongs to the engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from loadstone.users import User

# By name: whoever only edits, types or imports a script needs this package alone, without the engine and its libraries.
_ENGINE: Final = "loadstone_runner.engine.debugging"


def debug(
    user: type[User] | None = None, *, target: str | None = None, iterations: int = 1, task: str | None = None
) -> bool:
    """Run one user in the foreground and print what it does; return whether all went well.

        if __name__ == "__main__":
            debug(Visitor, target="http://localhost:8080")

    Nothing is patched and nothing runs beside it, so `breakpoint()` and an editor's debugger work. Setup runs before
    and teardown after it; pauses are left out and only told.

    Args:
        user: class of the user; default: the first one of the script that was run.
        target: base URL; default: the class's `host`.
        iterations: how many.
        task: only this one, by its name or the whole of it: "pay" or "Shop.Checkout.pay".

    Raises:
        ValueError: there is no such task or user.
    """
    return cast("bool", _engine().debug_class(user, target=target or "", iterations=iterations, task=task))


def debug_file(path: str, *, user: str | None, target: str | None, iterations: int, task: str | None) -> int:
    """Do so with a script's file; return the exit code: 0 if all went well, 1 if not, 2 if it cannot be run."""
    options = {"user": user, "target": target or "", "iterations": iterations, "task": task}
    return cast("int", _engine().debug_file(path, **options))


def _engine() -> Any:
    return import_module(_ENGINE)

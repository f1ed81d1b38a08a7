"""Load what the user wrote, once in a process, and say what is wrong with it. Running it belongs to `native`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from loadstone import Shape, User
from loadstone.hooks import setup_function, teardown_function
from loadstone_core.stats.metrics import storable
from loadstone_runner.engine.tasks import repertoire_of
from loadstone_runner.engine.tracebacks import TEXT_MAX, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from loadstone import Run

MODULE_NAME: Final = "loadstone_script"
_LINES: Final = 15


class ScriptError(Exception):
    """The script cannot be run: `str()` is one sentence, `trace` the traceback's last lines, which may be empty."""

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(storable(sentence))
        self.trace = trace


class Script(NamedTuple):
    """What a script defines.

    Attributes:
        users: the classes with tasks that it defines or imports, in order.
        setup: runs once before the load, or None.
        teardown: runs once after it, or None.
        shape: says how many users there are, if the LoadTest lets it, or None.
    """

    users: tuple[type[User], ...]
    setup: Callable[[Run], object] | None
    teardown: Callable[[Run], object] | None
    shape: type[Shape] | None = None


def load_script(directory: str, entrypoint: str) -> Script:
    """Import a script whose neighbours can be imported by it, and return what it defines.

    Raises:
        ScriptError: it is not there, cannot be imported, or has nothing to run.
    """
    path = Path(directory, entrypoint)
    if not path.is_file():
        raise ScriptError(f"there is no {entrypoint} in the script's files")
    module = _import(path, directory)
    users = users_of(module)
    if not users:
        raise ScriptError(
            f"{entrypoint} has nothing to run: define a class with User as its base and a method marked with @task"
        )
    _check_numbers(users)
    _check_tasks(users)
    return Script(users, setup_function(), teardown_function(), _shape_of(module))


def users_of(module: ModuleType) -> tuple[type[User], ...]:
    """Return the classes with tasks that a module defines or imports, in order."""
    return tuple(dict.fromkeys(value for value in vars(module).values() if _is_runnable(value)))


def last_lines(error: BaseException, directory: str) -> str:
    """Return the end of a traceback, from the first frame on that is in a directory."""
    frame = error.__traceback__
    while frame is not None and not frame.tb_frame.f_code.co_filename.startswith(directory):
        frame = frame.tb_next
    text = "".join(traceback.format_exception(type(error), error, frame))
    return storable("\n".join(text.rstrip().splitlines()[-_LINES:])[-TEXT_MAX:])


def _import(path: Path, directory: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"{path.name} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    sys.path[:0] = dict.fromkeys((str(path.parent), directory))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise ScriptError(_sentence(error, path), last_lines(error, directory)) from error
    return module


def _sentence(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        where = f"{Path(error.filename or path).name} line {error.lineno or 0}"
        return f"{where}: {type(error).__name__}: {error.msg}"[:TEXT_MAX]
    if isinstance(error, SystemExit):
        return f"{path.name} calls sys.exit({error.code!r:.{TEXT_MAX}}) while it is imported"
    return f"{path.name} cannot be imported: {text_of(error)}{_advice(error)}"


def _advice(error: BaseException) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    package = (error.name or "").partition(".")[0]
    if package == "locust":
        return "; scripts here begin with `from loadstone import ...`, where most of Locust's names are"
    return f"; put {package}.py beside the script, or name an image that has the package {package} in spec.image"


def _is_runnable(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, User) and not value.abstract and bool(value.tasks)


def _shape_of(module: ModuleType) -> type[Shape] | None:
    """Return the script's shape: of several the one that is derived from the others."""
    made = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Shape)} - {Shape}
    last = [each for each in made if not any(other is not each and issubclass(other, each) for other in made)]
    if len(last) > 1:
        names = ", ".join(sorted(each.__name__ for each in last))
        raise ScriptError(f"the script has several shapes ({names}), and a load has one: leave one of them")
    return last[0] if last else None


def _check_tasks(users: tuple[type[User], ...]) -> None:
    for each in users:
        try:
            repertoire_of(each)
        except ValueError as error:
            raise ScriptError(str(error)) from error


def _check_numbers(users: tuple[type[User], ...]) -> None:
    for each in users:
        for name in ("weight", "fixed_count"):
            value = getattr(each, name)
            if not isinstance(value, int) or value < 0:
                raise ScriptError(f"{each.__name__}.{name} must be a whole number from 0 on, not {value!r}")
    if not any(each.weight for each in users):
        raise ScriptError("no User class has a weight above 0: who should the users be?")

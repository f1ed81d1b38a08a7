"""The flavours of the hot paths, pure and compiled, by name. What holds for both is said by the tests."""

import shutil
import sysconfig
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.lacking import lacks


def flavour_called(name: str) -> ModuleType:
    """Return a flavour of the request path; where nothing can compile, who asks for the compiled one lacks it."""
    return _called(f"loadstone_runner.engine.path.{name}")


def shelf_called(name: str) -> ModuleType:
    """Return a flavour of the master's shelf, in the same way."""
    return _called(f"loadstone_runner.master.shelf.{name}")


def _called(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
            lacks("the hot paths are not compiled, as no C compiler or no header of Python is here: install both")
        raise

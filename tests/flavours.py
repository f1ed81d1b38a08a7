"""The flavours of the request path, pure and compiled, by name. What holds for both is said by the tests."""

import shutil
import sysconfig
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.lacking import lacks


def flavour_called(name: str) -> ModuleType:
    """Return a flavour; where nothing can compile, the test that asks for the compiled one lacks it."""
    try:
        return import_module(f"loadstone_runner.engine.path.{name}")
    except ModuleNotFoundError:
        if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
            lacks("the request path is not compiled, as no C compiler or no header of Python is here: install both")
        raise

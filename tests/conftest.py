"""Settings for every test: properties have no deadline, because these machines are shared; and what many rooms test."""

import importlib.util
import os
import shutil
import sys
from importlib import import_module
from types import ModuleType

import pytest
from hypothesis import settings

settings.register_profile("loadstone", deadline=None)
settings.load_profile("loadstone")


def use_compiled(file: str) -> None:
    """Let another build of the compiled request path take the place of the one beside its sources."""
    spec = importlib.util.spec_from_file_location("loadstone_runner.engine.path._compiled", file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])


if "LOADSTONE_TEST_COMPILED" in os.environ:
    use_compiled(os.environ["LOADSTONE_TEST_COMPILED"])


def flavour_called(name: str) -> ModuleType:
    try:
        return import_module(f"loadstone_runner.engine.path.{name}")
    except ModuleNotFoundError:
        if shutil.which("cc") is None:
            pytest.skip("no C compiler is here, so there is no compiled request path")
        raise


@pytest.fixture(scope="session", params=["pure", "compiled"])
def path(request: pytest.FixtureRequest) -> ModuleType:
    """One flavour of the request path after the other: what holds for one holds for both."""
    return flavour_called(request.param)


@pytest.fixture(scope="session")
def flavours() -> dict[str, ModuleType]:
    """Both flavours, to be compared."""
    return {name: flavour_called(name) for name in ("pure", "compiled")}

"""Settings for every test: properties have no deadline and may be slow, as machines are shared; what rooms share."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from tests.flavours import flavour_called

# How many examples a property is tried with; `make soak` tries some with many more.
EXAMPLES = int(os.environ.get("EXAMPLES", "100"))
settings.register_profile(
    "loadstone", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("loadstone")


def use_compiled(folder: str) -> None:
    """Let another build of the compiled hot paths take the place of those beside their sources."""
    for module in ("loadstone_runner.engine.path._compiled", "loadstone_runner.master.shelf._packed"):
        (file,) = Path(folder).glob(f"{module.rpartition('.')[2]}.*.so")
        spec = importlib.util.spec_from_file_location(module, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])


if "LOADSTONE_TEST_COMPILED" in os.environ:
    use_compiled(os.environ["LOADSTONE_TEST_COMPILED"])


@pytest.fixture(scope="session", params=["pure", "compiled"])
def path(request: pytest.FixtureRequest) -> ModuleType:
    """One flavour of the request path after the other: what holds for one holds for both."""
    return flavour_called(request.param)


@pytest.fixture(scope="session")
def flavours() -> dict[str, ModuleType]:
    """Both flavours, to be compared."""
    return {name: flavour_called(name) for name in ("pure", "compiled")}

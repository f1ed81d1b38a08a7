"""Settings of the tests with real processes."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Show, without failing the test that happens to run, what a destructor of gRPC says about a loop that is closed.

    Such a warning is raised when the garbage is collected, which is in some later test.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"))

"""What a test says that needs something which is not here. Whether it is here, each test finds out by itself."""

import os
from typing import NoReturn

import pytest


def lacks(what: str) -> NoReturn:
    """Skip the test because of what is missing: a sentence. With CI=true it fails instead: CI proves everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true, so nothing is skipped: {what}", pytrace=False)
    pytest.skip(what)

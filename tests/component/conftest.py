"""What tests of the HTTP client start with: servers that misbehave as asked, and clients of both flavours."""

import os
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from tests.component.hostile import Bench, Server

# Takes a quarter of an hour of waiting.
collect_ignore = [] if "LOADSTONE_SOAK" in os.environ else ["test_network_sweep.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes a minute, so that nobody waits for it in the end."""
    items.sort(key=lambda item: "once" not in item.keywords)


@pytest.fixture
def bench(path: ModuleType) -> Iterator[Bench]:
    made = Bench(path)
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(*arguments, **named) -> Server:
        made.append(Server(*arguments, **named))
        return made[-1]

    yield start
    for each in made:
        each.close()

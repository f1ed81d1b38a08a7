"""Run the examples that a test session has chosen side by side. What a run is, and must give, is not known here."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

import pytest
from catalogue import Example, Outcome


class Abreast:
    """Runs of examples, started with the block and a few at a time; use it as a fixture of a module."""

    def __init__(self, run: Callable[[Example], Outcome], request: pytest.FixtureRequest, *, at_once: int) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(at_once)
        self._futures: dict[str, Future[Outcome]] = {}
        # pytest-xdist runs tests side by side by itself, and each of its processes has all of them in its session.
        if "PYTEST_XDIST_WORKER" not in os.environ:
            items = (item for item in request.session.items if item.path == request.path and hasattr(item, "callspec"))
            for each in (item.callspec.params["example"] for item in items):
                self._futures[each.id] = self._pool.submit(run, each)

    def outcome(self, example: Example) -> Outcome:
        """Wait for a run's end. One whose machine was too slow proves nothing: it is made again, at most twice."""
        begun = self._futures.get(example.id)
        outcome = self._run(example) if begun is None else begun.result()
        for _ in range(2):
            if outcome.is_short:
                wait(self._futures.values())
                outcome = self._run(example)
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_ending: object) -> None:
        self._pool.shutdown(cancel_futures=True)

"""Run the examples that a test session has chosen side by side. What a run is, and must give, is not known here."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self

import pytest
from catalogue import Example, Outcome


class Abreast:
    """Runs of examples, started with the block and a few at a time; use it as a fixture of a module."""

    def __init__(self, run: Callable[[Example], Outcome], request: pytest.FixtureRequest, *, at_once: int) -> None:
        self._run = run
        items = (item for item in request.session.items if item.path == request.path and hasattr(item, "callspec"))
        chosen = [item.callspec.params["example"] for item in items]
        self._pool = ThreadPoolExecutor(at_once)
        self._futures: dict[str, Future[Outcome]] = {each.id: self._pool.submit(run, each) for each in chosen}

    def outcome(self, example: Example) -> Outcome:
        """Wait for a run's end. One that was saturated proves nothing: it is done again, alone, twice at most."""
        outcome = self._futures[example.id].result()
        for _ in range(2):
            if outcome.is_saturated:
                wait(self._futures.values())
                outcome = self._run(example)
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_ending: object) -> None:
        self._pool.shutdown(cancel_futures=True)

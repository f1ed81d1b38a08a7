"""What happens once in a run: setup before the load, teardown after it. Calling them belongs to the director."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone.http import HttpClient
    from loadstone.options import HttpOptions


class Run(Protocol):
    """What setup and teardown are given.

    Attributes:
        http: a client whose requests are not part of the results.
        target: base URL of the load.
        setup_data: in teardown, what setup returned; None before.
    """

    http: HttpClient
    target: str
    setup_data: Any

    def client(self, options: HttpOptions) -> HttpClient:
        """Return another client, whose requests are not part of the results either.

        Raises:
            ValueError: an option that cannot be used here, such as a coding without its library.
        """
        ...


_SETUP: list[Callable[[Run], object]] = []
_TEARDOWN: list[Callable[[Run], object]] = []


def setup(function: Callable[[Run], object]) -> Callable[[Run], object]:
    """Call a function of one parameter, the run, once before any user starts; see `Run`.

    What it returns must be JSON (at most 256 KiB) and is every user's `self.setup_data`. If it raises, the run is an
    Error with reason SetupFailed.

    Raises:
        ValueError: the function does not take one parameter, or the script has another setup already.
    """
    return _registered(function, _SETUP, "setup")


def teardown(function: Callable[[Run], object]) -> Callable[[Run], object]:
    """Call a function of one parameter, the run, once after the last user has ended; see `Run`.

    Raises:
        ValueError: the function does not take one parameter, or the script has another teardown already.
    """
    return _registered(function, _TEARDOWN, "teardown")


def setup_function() -> Callable[[Run], object] | None:
    """Return the script's setup; None if it has none."""
    return _SETUP[0] if _SETUP else None


def teardown_function() -> Callable[[Run], object] | None:
    """Return the script's teardown; None if it has none."""
    return _TEARDOWN[0] if _TEARDOWN else None


def forget() -> None:
    """Drop what was registered, before another script is loaded into the same process."""
    _SETUP.clear()
    _TEARDOWN.clear()


def _registered(
    function: Callable[[Run], object], place: list[Callable[[Run], object]], what: str
) -> Callable[[Run], object]:
    if place:
        raise ValueError(f"a script has one @{what} function; {place[0].__name__} is it already")
    code = getattr(function, "__code__", None)
    if code is not None and code.co_argcount != 1:
        raise ValueError(f"@{what}: {function.__name__} must take one parameter, the run")
    place.append(function)
    return function

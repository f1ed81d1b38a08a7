"""The hot path of a request and an iteration, once compiled and once in Python, with the same behaviour.

Whichever can be used is chosen here, once a process; LOADSTONE_PURE_PYTHON=1 chooses Python. What is rare (opening
connections, redirects, failures, unusual answers) is no flavour's own and lives in `engine.http`.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

from loadstone_runner.flavour import COMPILED, PURE, expected_flavour

if TYPE_CHECKING:
    from types import ModuleType

    from loadstone_runner.engine.path.pure import Channel, HttpClient, Instruments, Runner, Tasks, Usher

__all__ = ["FLAVOUR", "Channel", "HttpClient", "Instruments", "Runner", "Tasks", "Usher"]


def _choose() -> tuple[str, ModuleType]:
    """Return the flavour of this process and its module."""
    if expected_flavour() == COMPILED:
        try:
            return COMPILED, import_module(f"{__name__}.compiled")
        except ImportError as error:
            logging.getLogger("loadstone.engine").warning(
                "The compiled request path cannot be used (%s), so the pure Python one is: it is several times slower",
                error,
            )
    return PURE, import_module(f"{__name__}.pure")


_chosen: Final = _choose()
FLAVOUR: Final = _chosen[0]
if not TYPE_CHECKING:
    Channel = _chosen[1].Channel
    HttpClient = _chosen[1].HttpClient
    Instruments = _chosen[1].Instruments
    Runner = _chosen[1].Runner
    Tasks = _chosen[1].Tasks
    Usher = _chosen[1].Usher

"""The hot path of a master, once compiled and once in Python, with the same behaviour: states of series, added up.

Every changed series of every engine comes through here each second. Whichever can be used is chosen here, once a
process; LOADSTONE_PURE_PYTHON=1 chooses Python. What is newer, and where it is counted, is decided in core's `merge`.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Final

from loadstone_core.stats.merge import Merge
from loadstone_runner.flavour import COMPILED, PURE, expected_flavour

if TYPE_CHECKING:
    from types import ModuleType

    from loadstone_runner.master.shelf.pure import Held, cell_of, read_series

__all__ = ["FLAVOUR", "Held", "cell_of", "new_merge", "read_series"]


def _choose() -> tuple[str, ModuleType]:
    """Return the flavour of this process and its module."""
    if expected_flavour() == COMPILED:
        try:
            return COMPILED, import_module(f"{__name__}.compiled")
        except ImportError as error:
            logging.getLogger(__name__).warning(
                "The compiled half of the master cannot be used (%s), so the pure Python one is: it takes many times "
                "the CPU for the same workers",
                error,
            )
    return PURE, import_module(f"{__name__}.pure")


_chosen: Final = _choose()
FLAVOUR: Final = _chosen[0]
if not TYPE_CHECKING:
    Held = _chosen[1].Held
    cell_of = _chosen[1].cell_of
    read_series = _chosen[1].read_series


def new_merge() -> Merge:
    """Return a merge that adds up with the flavour of this process."""
    return Merge(make_held=Held, make_cell=cell_of)

"""Say which flavour of the request path this installation has, without loading it. Choosing one belongs to it."""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final

COMPILED: Final = "compiled"
PURE: Final = "pure"

_MODULE: Final = Path(__file__).parent / "engine" / "path" / "_compiled"


def expected_flavour() -> str:
    """Return COMPILED if the compiled module is there and LOADSTONE_PURE_PYTHON is empty, else PURE."""
    if os.environ.get("LOADSTONE_PURE_PYTHON"):
        return PURE
    return COMPILED if any(_MODULE.with_name(_MODULE.name + suffix).exists() for suffix in EXTENSION_SUFFIXES) else PURE

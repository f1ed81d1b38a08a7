"""Leave protobuf's implementation in pure Python unexecuted where the compiled one is used. Import this before stubs.

The generated code imports both, whichever is used: twelve modules, a tenth of the start of an agent or an engine. The
one that imports the others is put in place as a module that is executed when something of it is asked for.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

from google.protobuf import internal
from google.protobuf.internal import api_implementation

PURE: Final = "google.protobuf.internal.python_message"


def _leave_out() -> None:
    if PURE in sys.modules or api_implementation.Type() == "python":
        return
    spec = importlib.util.find_spec(PURE)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[PURE] = module
    # Found as an attribute of its package, it is not asked whether it is complete.
    setattr(internal, PURE.rpartition(".")[2], module)
    spec.loader.exec_module(module)


_leave_out()

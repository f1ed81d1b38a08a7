"""Leave out the half of the Kubernetes client that nothing here uses. Import this before kopf and before the client.

Whatever is imported of the package first imports all of it: the synchronous client, and with it requests, OAuth and
WebSockets; kopf asks for two of its typed models besides. That would be 7 MiB of every operator, and a fifth of its
start. So the package itself is put in place unexecuted, which leaves its parts to be imported one by one, and its
synchronous client is marked as absent, which kopf is made for.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Final

PACKAGE: Final = "kubernetes"
ABSENT: Final = f"{PACKAGE}.client"


def _leave_out() -> None:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or PACKAGE in sys.modules:
        return
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    sys.modules[ABSENT] = None  # type: ignore[assignment]  # how the import system is told that there is none


_leave_out()

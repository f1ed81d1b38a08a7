"""Let a process end with the one that started it, however that one ends."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_EXIT_ORPHANED: Final = 1


def end_with(parent: int) -> None:
    """Ask the kernel to kill this process when the thread of `parent` that started it ends (prctl(2)).

    The process that is to end asks for it, not its parent between fork and exec: what runs there inherits the locks of
    threads that it does not have, and beside gRPC a third of such children crash.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_EXIT_ORPHANED)  # it ended before the kernel knew

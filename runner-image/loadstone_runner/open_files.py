"""Let a process have as many files open as it may allow itself: each connection is one of them."""

import contextlib
import resource


def raise_open_files() -> None:
    """Raise the soft limit of this process, and of those that it starts, to the hard one.

    Containers may begin with 1,024, half of which is as many workers as a master could have.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Refused where a hard limit is above what the kernel gives anybody (fs.nr_open); what there is stays then.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

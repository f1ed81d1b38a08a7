"""Make this process one that runs user code: it dies with its parent, and the standard library waits by gevent.

Called once, first of all. No user code may have been imported before.
"""

from __future__ import annotations

import os
import signal

from loadstone_runner.parent_death import end_with


def prepare() -> None:
    """Bind this process to its parent and patch the standard library."""
    end_with(os.getppid())
    # Ctrl-C in a terminal reaches every process of its group; how a run ends is decided elsewhere.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _patch()
    _leave_children_alone()
    _log_to_stderr()


def _patch() -> None:
    from gevent import events, hub, monkey

    # Looking for plug-ins of the patching reads the metadata of every installed distribution some thirty times, which
    # is half of the start of an engine; gevent's own subscribers still hear everything.
    events.notify_and_call_entry_points = events.notify  # type: ignore[attr-defined]  # the stubs leave both out
    monkey.patch_all()
    # sys.exit in a greenlet of the script's own would else be raised in the main greenlet and end the engine.
    hub.Hub.SYSTEM_ERROR = ()


def _leave_children_alone() -> None:
    """Let a child that a script forks, as multiprocessing does, have no part in what this process has under way.

    Users, reports and the rest wait in gevent's loop, which a fork copies: at the first wait of the child they would go
    on in both, with the same sockets.
    """
    from gevent._hub_local import get_hub_if_exists, set_hub, set_loop

    def leave_alone() -> None:
        hub = get_hub_if_exists()
        if hub is not None:
            # The next wait makes another one.
            hub.loop.destroy()
            set_hub(None)  # type: ignore[arg-type]  # the stubs do not know that there may be none
            set_loop(None)  # type: ignore[arg-type]
        # The handler was the loop's.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    os.register_at_fork(after_in_child=leave_alone)


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

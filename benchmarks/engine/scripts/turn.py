"""An iteration that only lets everybody else run once: what is left is the engine's own cost."""

import gevent

from loadstone import User, task


class Turner(User):
    """Has nothing to ask for."""

    @task
    def turn(self):
        """Yield once."""
        gevent.sleep(0)

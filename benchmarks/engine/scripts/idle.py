"""A user that asks once in a while over a connection that stays open.

Users spread over four addresses of the target: connect(2) searches long for a free port when half of all ports lead
to one address, and that is the kernel's time, not a load generator's.
"""

import os

from loadstone import User, between, check, task

PORT = os.environ["BENCH_PORT"]


class Idler(User):
    """Mostly waits."""

    wait = between(20, 40)

    @task
    def front_page(self):
        """Ask and look."""
        reply = self.http.get(f"http://127.0.0.{1 + self.number % 4}:{PORT}/", name="front page")
        check("answered", reply.status == 200, page="front")

"""One user of ours: a named request and a check with a label; both latencies go into histograms, as always.

BENCH_MODE is keep_alive, fresh (a connection for each request) or parsed (the body is JSON that is parsed and checked).
"""

import os

from loadstone import User, check, task

PATH = os.environ["BENCH_PATH"]
MODE = os.environ["BENCH_MODE"]


class Visitor(User):
    """Asks for the same thing again and again."""

    def on_start(self):
        """Take the certificate as it is; have connections closed where each request is to have its own."""
        self.http.verify = False
        if MODE == "fresh":
            self.http.headers["Connection"] = "close"

    if MODE == "parsed":

        @task
        def order(self):
            """Ask, parse and look."""
            order = self.http.get(PATH, name="order").json()
            check("order is whole", len(order["lines"]) == 100 and order["customer"] == "Ada", customer="Ada")

    else:

        @task
        def front_page(self):
            """Ask and look."""
            reply = self.http.get(PATH, name="front page")
            check("answered", reply.status == 200, page="front")

"""One user of Locust: FastHttpUser or HttpUser, by BENCH_USER.

BENCH_MODE is keep_alive, fresh (a connection for each request) or parsed (the body is JSON that is parsed and checked).
"""

import os

from locust import FastHttpUser, HttpUser, constant

PATH = os.environ["BENCH_PATH"]
MODE = os.environ["BENCH_MODE"]
HEADERS = {"Connection": "close"} if MODE == "fresh" else {}


def front_page(user):
    """Ask and look."""
    reply = user.client.get(PATH, name="front page", headers=HEADERS)
    if reply.status_code != 200:
        raise RuntimeError("not answered")


def order(user):
    """Ask, parse and look."""
    with user.client.get(PATH, name="order", catch_response=True) as reply:
        found = reply.json()
        if len(found["lines"]) != 100 or found["customer"] != "Ada":
            reply.failure("order is not whole")


class Fast(FastHttpUser):
    """With geventhttpclient."""

    abstract = os.environ["BENCH_USER"] != "fasthttp"
    wait_time = constant(0)
    insecure = True
    tasks = [order if MODE == "parsed" else front_page]


class Requests(HttpUser):
    """With requests."""

    abstract = os.environ["BENCH_USER"] != "http"
    wait_time = constant(0)
    tasks = [order if MODE == "parsed" else front_page]

    def on_start(self):
        """Take the certificate as it is."""
        self.client.verify = False

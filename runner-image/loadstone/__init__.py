"""What a load test script is written with: users, tasks, waits, checks, setup and teardown.

    from loadstone import User, between, check, task

    class Visitor(User):
        wait = between(0.5, 2)

        @task
        def front_page(self):
            reply = self.http.get("/", name="front page")
            check("front page answers", reply.status == 200)

Importing it patches nothing and opens nothing; what happens on the wire lives in the engine that runs the script.
"""

from loadstone.checks import check
from loadstone.conversations import ServerEvent, ServerEvents, WebSocket
from loadstone.hooks import Run, setup, teardown
from loadstone.http import HttpClient
from loadstone.options import HttpOptions
from loadstone.reply import Reply
from loadstone.streams import StreamReply
from loadstone.users import User, task
from loadstone.waits import between, constant, constant_pacing, constant_throughput

__all__ = [
    "HttpClient",
    "HttpOptions",
    "Reply",
    "Run",
    "ServerEvent",
    "ServerEvents",
    "StreamReply",
    "User",
    "WebSocket",
    "between",
    "check",
    "constant",
    "constant_pacing",
    "constant_throughput",
    "setup",
    "task",
    "teardown",
]

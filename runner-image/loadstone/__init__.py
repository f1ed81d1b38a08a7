"""What a load test script is written with: users, tasks, waits, checks, metrics, feeders, events, setup and teardown.

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
from loadstone.debugging import debug
from loadstone.feeders import Feeder, csv_feeder, jsonl_feeder
from loadstone.flow import InterruptTaskSet, StopUser, stop_run
from loadstone.hooks import Run, setup, teardown
from loadstone.http import HttpClient
from loadstone.lines import log
from loadstone.listening import Environment, Summary, events, every
from loadstone.live import config
from loadstone.measuring import measure
from loadstone.messages import Message, Place, Receipt, on_message, send_message
from loadstone.metrics import Counter, Gauge, Rate, Trend
from loadstone.options import HttpOptions
from loadstone.reply import Reply
from loadstone.shapes import Shape
from loadstone.streams import StreamReply
from loadstone.tasks import SequentialTaskSet, TaskSet, tag, task
from loadstone.users import User
from loadstone.waits import between, constant, constant_pacing, constant_throughput

__all__ = [
    "Counter",
    "Environment",
    "Feeder",
    "Gauge",
    "HttpClient",
    "HttpOptions",
    "InterruptTaskSet",
    "Message",
    "Place",
    "Rate",
    "Receipt",
    "Reply",
    "Run",
    "SequentialTaskSet",
    "ServerEvent",
    "ServerEvents",
    "Shape",
    "StopUser",
    "StreamReply",
    "Summary",
    "TaskSet",
    "Trend",
    "User",
    "WebSocket",
    "between",
    "check",
    "config",
    "constant",
    "constant_pacing",
    "constant_throughput",
    "csv_feeder",
    "debug",
    "events",
    "every",
    "jsonl_feeder",
    "log",
    "measure",
    "on_message",
    "send_message",
    "setup",
    "stop_run",
    "tag",
    "task",
    "teardown",
]

"""The flavour of the hot path that needs no compiler. Nothing is defined here: each part stands where it belongs."""

from loadstone_runner.engine.http.client import HttpClient
from loadstone_runner.engine.http.connection import Connection as Channel
from loadstone_runner.engine.instruments import Instruments
from loadstone_runner.engine.path.laps import Runner, Tasks
from loadstone_runner.engine.path.turns import Usher

__all__ = ["Channel", "HttpClient", "Instruments", "Runner", "Tasks", "Usher"]

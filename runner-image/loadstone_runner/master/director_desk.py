"""Where the director is heard: each of its words becomes a change of a table, or an event of the run.

What happens then is the affair of `conductor`; how the director is reached, of `director`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_runner.master import run
from loadstone_runner.master.run import Stage

if TYPE_CHECKING:
    from loadstone_protocol.messages import ScriptNews, ShapeNews
    from loadstone_protocol.v1 import engine_pb2
    from loadstone_runner.master.conductor import Conductor
    from loadstone_runner.master.director import Director


class DirectorDesk:
    """The `DirectorListener` of one run."""

    def __init__(self, conductor: Conductor, director: Director) -> None:
        self._run = conductor
        self._director = director
        director.tell(self)
        director.configure(conductor.plan.config, setup_json=b"", is_shaped=conductor.plan.is_shaped)

    def on_script(self, news: ScriptNews) -> None:
        """Go on with setup, or end the run with what is wrong with the script."""
        self._run.inheritance.when_known(lambda: self._take_script(news))

    def _take_script(self, news: ScriptNews) -> None:
        if news.is_ok and self._run.plan.is_shaped and not self._director.has_shape:
            message = "load.shape asks for a shape, and the script has none: define a class with Shape as its base"
            self._run.handle(run.Broke(Reason.SCRIPT_INVALID, message))
        elif news.is_ok:
            self._run.handle(run.ScriptImported())
        else:
            self._run.handle(run.Broke(Reason.SCRIPT_INVALID, news.describe()))

    def on_setup(self, *, problem: str | None, result_json: bytes, requests: int) -> None:
        """Keep what setup returned for every user."""
        self._run.outside["setup"] = requests
        if problem is not None:
            self._run.handle(run.Broke(Reason.SETUP_FAILED, problem))
            return
        self._run.commander.setup_json = result_json
        self._run.handle(run.SetupDone())

    def on_teardown(self, *, problem: str | None, requests: int) -> None:
        """Note how teardown went: it changes no verdict."""
        self._run.outside["teardown"] = requests
        if problem is not None:
            self._run.notes.append(Cause(Reason.HANDLER_ERRORS, f"teardown failed: {problem}"))
        self._run.handle(run.TeardownDone())

    def on_shape(self, shape: ShapeNews) -> None:
        """Bring the load to what the script's shape wants; one that cannot be asked leaves no load to make."""
        if self._run.state.stage is not Stage.RUNNING_LOAD:
            return
        if shape.failed:
            self._run.handle(run.Broke(Reason.HANDLER_FAILED, f"the script's shape failed: {shape.failed}"))
            return
        self._run.workload.take_shape(shape)
        self._run.steer_load()

    def on_stop_asked(self, why: str) -> None:
        """End the run, as the script wants."""
        self._run.inheritance.when_known(lambda: self._run.on_stop_asked(why))

    def on_messages(self, start: int, frame: engine_pb2.MessageFrame) -> None:
        """Pass on custom messages."""
        self._run.mail.hear_director(start, frame)

    def on_director_gone(self, message: str) -> None:
        """End a run that still needs its director; a plain test goes on without it until teardown."""
        self._run.inheritance.when_known(lambda: self._lose(message))

    def _lose(self, message: str) -> None:
        self._run.mail.lose_director(message)
        what = self._director.kept_there(is_shaped=self._run.plan.is_shaped)
        if self._run.state.stage is Stage.GATHERING:
            self._run.handle(run.Broke(Reason.DIRECTOR_LOST, f"{message}; see the log of the director's container"))
        elif what and self._run.state.stage in {Stage.ARMED, Stage.RUNNING_LOAD}:
            text = f"{message}, and with it {what}; the results end there"
            self._run.handle(run.Broke(Reason.DIRECTOR_LOST, text))
        elif self._run.state.stage is not Stage.FINISHED and not self._run.state.is_killed:
            self._run.notes.append(Cause(Reason.HANDLER_ERRORS, f"{message}; teardown was not run"))
            if self._run.state.is_torn_down:
                self._run.handle(run.TeardownDone())

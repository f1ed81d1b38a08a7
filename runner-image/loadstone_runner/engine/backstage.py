"""Keep what a script has around its users: services at its seat, listeners, greenlets of its own, its wish to stop.

Used by engines and by the director; when things happen is known to them.
"""

from __future__ import annotations

import logging
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import gevent

from loadstone import Environment, seat
from loadstone.messages import handlings
from loadstone_core.stats.metrics import storable
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.events import DRAIN_SECONDS, Audience
from loadstone_runner.engine.introduction import load_and_report
from loadstone_runner.engine.marks import LogMarks
from loadstone_runner.engine.measuring import DirectorServices, Services
from loadstone_runner.engine.standstill import Standstill
from loadstone_runner.engine.strays import Strays

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone.messages import Delivery, To
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.mailroom import Mailroom
    from loadstone_runner.engine.script import Script
    from loadstone_runner.settings import EngineSettings

log = logging.getLogger("loadstone.engine")

LEAST_SECONDS: Final = 0.2  # for whoever has something to do that takes no time
_SECOND_NS: Final = 1_000_000_000


class Backstage:
    """What surrounds the script of one process.

    Attributes:
        services: that its plain functions find.
        stop_asked: why it wants the run to end; empty: it does not.
        marks: of its durable lines.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        is_director: bool,
        on_stop: Callable[[], None],
        send: Callable[[engine_pb2.EngineMessage], None],
    ) -> None:
        """Serve a script; `on_stop` is called when it first wants the run to end, `send` takes messages of it."""
        self.services = (DirectorServices if is_director else Services)(instruments)
        self.services.on_stop = self._note_stop
        self.services.marks = self.marks = LogMarks()
        self.stop_asked = ""
        self._instruments = instruments
        self._is_director = is_director
        self._on_stop = on_stop
        self._send = send
        self._launcher_fd = 0
        self._is_loaded = False
        self._mailroom: Mailroom | None = None
        self._standstill = Standstill()
        self._strays = Strays(self.services.count_error)
        self._audience: Audience | None = None

    def load(self, settings: EngineSettings) -> tuple[Script | None, engine_pb2.ScriptReport]:
        """Import the script; return it, or None, and what to tell of it."""
        self._launcher_fd = settings.launcher_fd
        seat.take(self.services)
        self._strays.watch()
        script, report = load_and_report(settings)
        self._audience = Audience(self.services.count_error)
        self._instruments.on_request = self._audience.request_listener()
        self.begin(settings.target, None)
        if script is not None:
            self._is_loaded = True
            self.services.on_send = self._send_message
            if handlings():
                self._mail()
            self.introduce()
        self._standstill.look()
        return script, report

    def introduce(self) -> None:
        """Let others reach this process by messages; before, there is no script that could handle any."""
        if self._mailroom is not None:
            self._mailroom.introduce()
        elif self._is_loaded:
            self._send(engine_pb2.EngineMessage(messages=engine_pb2.MessageFrame(rewind=True)))

    def hear(self, frame: engine_pb2.MessageFrame) -> None:
        """Take in a frame of custom messages."""
        if self._is_loaded:
            self._mail().hear(frame)
            # Whoever reads on as long as something is there would keep users and reports from their turn.
            gevent.sleep(0)

    def lane_states(self) -> list[engine_pb2.LaneState]:
        """Return how the lanes of the script's messages are."""
        return [] if self._mailroom is None else self._mailroom.states()

    def begin(self, target: str, setup_data: Any) -> None:
        """Let listeners know where they are."""
        if self._audience is not None:
            self._audience.environment = Environment(self._is_director, target, setup_data)

    def tell(self, event: str, **told: Any) -> None:
        """Tell an event to the script's listeners."""
        if self._audience is not None:
            self._audience.tell(event, **told)

    def wait(self) -> None:
        """Let listeners hear what was told so far, if that takes no longer than usual."""
        if self._audience is not None:
            self._audience.wait()
        if self._mailroom is not None:
            self._mailroom.lanes.wait(DRAIN_SECONDS)

    def look(self) -> None:
        """Look after listeners and messages, and say that the loop goes round; called each second."""
        self._standstill.look()
        if self._audience is not None:
            self._audience.look()
        if self._mailroom is not None:
            self._mailroom.look()

    def close(self, *last: str, until_ns: int) -> None:
        """End what the script still does: its listeners hear the last events, one after the other, then no more.

        Each step has two seconds, and all of them together until a moment of the monotonic clock: who is not done then
        is cut off, as otherwise the whole process would be.
        """

        def left(steps: int = 1) -> float:
            return min(DRAIN_SECONDS, max(LEAST_SECONDS, (until_ns - monotonic_ns()) / _SECOND_NS / steps))

        self._standstill.close()
        ended = self._strays.end()
        if ended:
            log.info("Ended %d greenlets that the script had started and left", ended)
        if self._audience is None:
            return
        for event in last:
            # In between, as whoever writes down requests wants to close its file after the last one.
            self._audience.drain(left())
            self.tell(event)
        self._audience.drain(left())
        self._audience.end()
        if self._mailroom is not None:
            # Last, as listeners send messages, too; for handlers, and again until the hub has heard of them.
            self._mailroom.close(left(steps=2))

    def _send_message(self, name: str, data: Any, to: To | None) -> Delivery:
        return self._mail().send_message(name, data, to)

    def _mail(self) -> Mailroom:
        """Return the mailroom, which is there from the first message on, or for a script that handles any."""
        if self._mailroom is None:
            from loadstone_runner.engine.mailroom import Mailroom
            from loadstone_runner.engine.offloading import work_by

            self._mailroom = Mailroom(
                handlings(),
                is_director=self._is_director,
                send=self._send,
                work_of=work_by(self._launcher_fd),
                count=self.services.count_error,
            )
        return self._mailroom

    def _note_stop(self, why: str) -> None:
        if not self.stop_asked:
            log.info("The script asked for the end of the run: %s", why)
            self.stop_asked = storable(why)
            self._on_stop()

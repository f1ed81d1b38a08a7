"""Make the common configuration: number it, keep it on disk, then send it. What it should say is decided in `run`."""

from __future__ import annotations

import logging
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.register import Held, Version
from loadstone_core.units import MILLISECOND, SECOND
from loadstone_protocol.coordination import common_body
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master.restarts import Restarts
from loadstone_runner.master.store import Register

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_core.clock import Clock
    from loadstone_core.plan.model import RunPlan
    from loadstone_runner.master.course import Course
    from loadstone_runner.master.crew import Crew
    from loadstone_runner.master.run import Configure
    from loadstone_runner.master.store import Store

LEAD_NS: Final = 100 * MILLISECOND  # from the order to start to the start, at the least
LEAD_ROUND_TRIPS: Final = 4
IMMEDIATE_STOP_NS: Final = 10 * SECOND

_NO_DISK: Final = "The disk takes no register: what is ordered is said when it does"
_NO_REGISTER: Final = "What was decided cannot be kept: nothing but a kill is said until it can"

log = logging.getLogger(__name__)


def lead_of(round_trip_ns: int) -> int:
    """Return how long before something happens everybody has to be told, so that all know it in time."""
    return max(LEAD_NS, LEAD_ROUND_TRIPS * round_trip_ns)


class Commander:
    """The common register of one run.

    Attributes:
        held: the newest configuration by version and digest; None before the first.
        start_at_ns: when the load starts, on the master's monotonic clock; 0 = not set yet.
        load_started_ns: the same on the wall clock.
        setup_json: what setup returned, for every user.
        config: the script's values, as they are wanted now.
        config_revision: that first had the newest of them.
        boot: how often the process of this master was started, from 1.
        restarts: those of which people are told.
        order: the newest that was given; None before the first.
        unsent: the same as long as the disk has not taken it; None once it was sent.
        remember: returns what is kept with each version, for a later start of this master.
        bequeath: returns the same as it travels with each version, for a master in another pod.
        is_running: the newest configuration asks for load.
    """

    def __init__(self, plan: RunPlan, course: Course, *, clock: Clock, store: Store, crew: Crew) -> None:
        self.boot = 1
        self.restarts = Restarts()
        self.order: Configure | None = None
        self.unsent: Configure | None = None
        self.remember: Callable[[], Mapping[str, Any]] = dict
        self.bequeath: Callable[[], bytes] = bytes
        self.held: Held | None = None
        self.start_at_ns = 0
        self.load_started_ns = 0
        self.setup_json = b""
        self.config = plan.config
        self.config_revision = 0
        self.is_running = False
        self._plan = plan
        self._course = course
        self._clock = clock
        self._store = store
        self._crew = crew
        self._sent: Mapping[str, str] = plan.config
        self._is_closed = False
        self._refusal: type[Exception] | None = None  # why the newest register was not kept
        self._is_memory_lost = False  # the newest version went out without it
        self._known = 0  # newest revision of the script's values that everybody has
        self._revision = 0
        self._write_ns = 0  # that the newest write took

    def resume(self, register: Register) -> None:
        """Go on behind the versions of a former start of this master."""
        self.boot = register.boot + 1
        self._revision = register.revision
        self.start_at_ns, self.load_started_ns = register.start_at_ns, register.load_started_ns

    def resume_config(self, config: Mapping[str, str], revision: int) -> None:
        """Go on with the script's values as they were sent last, and the revision that first had them."""
        self.config = self._sent = config
        self.config_revision = revision

    def configure(self, effect: Configure, *, round_trip_ns: int) -> bool:
        """Make the next version, and send it once it is on disk: so no number ever means two things.

        Return whether it was sent. If it cannot be kept, the order is `unsent`, and is to be given again; a kill alone
        does not wait for that, as nobody whom it reaches does anything under a later number.
        """
        self._revision += 1
        self.order = self.unsent = effect
        version = Version(self._plan.run.epoch, self._revision)
        is_start = self.is_start(effect)
        if is_start:
            self._set_start(round_trip_ns)
        # First, as a slow disk must not eat the time in which everybody hears of the start.
        if not self.keep() and not effect.is_kill:
            if is_start:
                self.start_at_ns = self.load_started_ns = 0
            return False
        if is_start:
            self._set_start(round_trip_ns)
        self.is_running = effect.order is RunOrder.RUNNING
        body = self._body(effect)
        self.held = Held(version, sha256(body).hexdigest())
        if self.has_news or not self.config_revision:
            self.config_revision = self._revision
        self._sent = self.config
        self.unsent = None
        self._crew.configure(version, body)
        return True

    def is_start(self, effect: Configure) -> bool:
        """Say whether an order begins the load."""
        return effect.order is RunOrder.RUNNING and not self.start_at_ns

    def known_config(self, applied_revision: int) -> int:
        """Return the revision that first had the script's newest values that everybody has; 0: no script has any."""
        if self.config and applied_revision >= self.config_revision:
            self._known = self.config_revision
        return self._known

    @property
    def has_news(self) -> bool:
        """Whether the script's values are others than those that were sent."""
        return self.config != self._sent

    def keep(self) -> bool:
        """Write the register; return whether that, and what has to be there before it, is on disk. Nothing is raised.

        It is written again when the load has started: before it was sent nobody knew exactly when it would.
        """
        before_ns = self._clock.monotonic_ns()
        try:
            register = self._register()
            if self._crew.is_behind:
                return False
            self._store.write_register(register)
        except Exception as error:
            # Not only the disk: whatever is wrong with what is kept, time goes on, and a kill reaches everybody.
            kind = type(error)
            if self._refusal is not kind:
                log.exception(_NO_DISK if issubclass(kind, OSError) else _NO_REGISTER)
            self._refusal = kind
            return False
        if self._refusal is not None:
            log.info("The disk took the register again: revision=%d", self._revision)
        self._refusal = None
        self._write_ns = self._clock.monotonic_ns() - before_ns
        return True

    def _register(self) -> Register:
        return Register(
            epoch=self._plan.run.epoch,
            revision=self._revision,
            start_at_ns=self.start_at_ns,
            load_started_ns=self.load_started_ns,
            is_finished=self._is_closed,
            boot=self.boot,
            run=self.remember(),
        )

    def lead_ns(self, round_trip_ns: int) -> int:
        """Return how long before something happens it has to be ordered, so that it is kept and everybody hears it."""
        return lead_of(round_trip_ns) + self._write_ns

    def close(self) -> bool:
        """Note on disk that the outcome was shown, and send what is still unsent; return whether the disk took it."""
        self._is_closed = True
        return self.keep() if self.unsent is None else self.configure(self.unsent, round_trip_ns=0)

    @property
    def has_ordered_load(self) -> bool:
        """Whether the load was ordered to begin, at a moment that may be still to come."""
        return self.start_at_ns != 0  # of a load that began before this machine did, it is negative

    def since_start_ns(self) -> int:
        """Return how long ago the load started; negative before it, and while that is not set."""
        return self._clock.monotonic_ns() - self.start_at_ns if self.start_at_ns else -SECOND

    def graceful_stop_ns(self, effect: Configure) -> int:
        """Return how long iterations that run may take when the load is stopped so."""
        if effect.is_kill:
            return 0
        graceful_ns = self._plan.graceful_stop_ns
        return min(graceful_ns, IMMEDIATE_STOP_NS) if effect.is_immediate else graceful_ns

    def _body(self, effect: Configure) -> bytes:
        plan = self._plan
        return common_body(
            effect.order,
            self._course.scenarios,
            script_digest=plan.script.digest or "",
            start_at_ns=self.start_at_ns,
            stop_reason=effect.stop_reason,
            graceful_stop_ns=self.graceful_stop_ns(effect),
            setup_json=self.setup_json,
            warm_up_ns=plan.warm_up_ns,
            config=self.config,
            dropped=plan.dropped,
            is_kill=effect.is_kill,
            memory=self._memory(),
        )

    def _memory(self) -> bytes:
        """Return what a master in another pod would go on from; nothing if that fails, as an order is worth more."""
        try:
            memory = self.bequeath()
        except Exception:
            if not self._is_memory_lost:
                log.exception("No master in another pod could go on from here: what was decided cannot be told")
            self._is_memory_lost = True
            return b""
        self._is_memory_lost = False
        return memory

    def _set_start(self, round_trip_ns: int) -> None:
        lead_ns = lead_of(round_trip_ns)
        self.start_at_ns = self._clock.monotonic_ns() + lead_ns
        self.load_started_ns = self._clock.wall_ns() + lead_ns

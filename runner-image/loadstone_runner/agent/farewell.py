"""Decide when everything has been said, what the last word is, and when waiting for an answer makes no sense. Pure.

Moments are of CLOCK_BOOTTIME, in nanoseconds. What leads to the end is the session's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_runner.agent.effects import Finish, ProcessEnd, SayBye

if TYPE_CHECKING:
    from loadstone_runner.agent.engines import Engines

SECOND: Final = 1_000_000_000
LAUNCHER_ABSENT_NS: Final = 2 * SECOND
FLUSH_NS: Final = 10 * SECOND
# What the log of a worker may take to arrive when its engines have ended; the rest is missing then, and counted.
LOGS_NS: Final = 8 * SECOND
LOGS_TERMINATED_NS: Final = 5 * SECOND
TERMINATION_MAX_NS: Final = 25 * SECOND
# A master that is made anew within this time gets everything.
MASTER_AWAITED_NS: Final = 120 * SECOND


class Farewell:
    """What is known about the end of one worker.

    Attributes:
        terminated_ns: when SIGTERM came; None before.
        is_refused: the master does not want this agent.
        finish: how it ended; None before the end.
        owes_logs: the master does not hold everything that was written to the log.
    """

    def __init__(self, engines: Engines) -> None:
        """Begin without a launcher and without a master."""
        self.terminated_ns: int | None = None
        self.is_refused = False
        self.finish: Finish | None = None
        self.owes_logs = False
        self._has_given_logs_up = False
        self._engines = engines
        self._has_launcher = False
        self._launcher_left_ns: int | None = None
        self._ended_ns: int | None = None
        self._has_said_bye = False

    def meet_launcher(self) -> None:
        """Note that the launcher is there."""
        self._has_launcher = True
        self._launcher_left_ns = None

    def miss_launcher(self, now_ns: int) -> None:
        """Note that the launcher's connection has ended."""
        self._has_launcher = False
        self._launcher_left_ns = now_ns

    def bury_orphans(self, now_ns: int) -> None:
        """Take engines as dead whose launcher, without which none lives, is known to be gone."""
        # The kubelet ends the agent's container only after the launcher's, so SIGTERM proves it; also to an agent that
        # was started again, and to which no launcher has come.
        is_proven = self.terminated_ns is not None and not self._has_launcher
        left_ns = self._launcher_left_ns
        if not is_proven and (left_ns is None or now_ns - left_ns < LAUNCHER_ABSENT_NS):
            return
        for view in self._engines:
            if not view.is_connected and view.process_end is None:
                view.process_end, view.process_end_ns = ProcessEnd(), now_ns

    def look_for_end(self, now_ns: int) -> None:
        """Note when the last engine has ended."""
        if self._ended_ns is None and self._engines.have_ended():
            self._ended_ns = now_ns

    def give_logs_up(self, now_ns: int) -> bool:
        """Stop waiting for the log when it has had its time; return whether that is so for the first time."""
        if self._has_given_logs_up or not self.owes_logs or self._ended_ns is None:
            return False
        patience_ns = LOGS_NS if self.terminated_ns is None else LOGS_TERMINATED_NS
        self._has_given_logs_up = now_ns - self._ended_ns >= patience_ns
        return self._has_given_logs_up

    def forget_bye(self) -> None:
        """Note that there is a new connection, on which nothing has been said."""
        self._has_said_bye = False

    def bye(self, stop_reason: str) -> SayBye | None:
        """Return the last word, once: when no engine will say more and the master has all that they said."""
        if self._has_said_bye or not self._is_over() or not all(view.is_delivered for view in self._engines):
            return None
        if self.owes_logs and not self._has_given_logs_up:
            return None
        self._has_said_bye = True
        ends = self._engines.ends()
        if self.terminated_ns is not None:
            return SayBye(ends, "terminated")
        if not all(end.is_clean for end in ends):
            return SayBye(ends, "engine lost")
        return SayBye(ends, stop_reason or "ended")

    def end(self, exit_code: int) -> Finish | None:
        """Return the end, once: durable if the last word had been said."""
        if self.finish is not None:
            return None
        self.finish = Finish(exit_code, is_durable=self._has_said_bye)
        return self.finish

    def give_up(self, exit_code: int, now_ns: int, *, is_welcome: bool) -> Finish | None:
        """Return the end, once, when waiting for the master's last word makes no sense any more."""
        if self.finish is not None or not self._is_hopeless(now_ns, is_welcome=is_welcome):
            return None
        self.finish = Finish(exit_code, is_durable=False)
        return self.finish

    def _is_over(self) -> bool:
        """Return whether no engine will say anything any more."""
        if self._engines.have_ended():
            return True
        is_abandoned = self.terminated_ns is not None and not self._has_launcher
        return is_abandoned and all(view.end is not None for view in self._engines)

    def _is_hopeless(self, now_ns: int, *, is_welcome: bool) -> bool:
        if self.terminated_ns is not None:
            since_ns = max(self.terminated_ns, self._ended_ns or 0)
            has_something = is_welcome or any(view.sequence for view in self._engines)
            is_late = now_ns - since_ns >= FLUSH_NS or not has_something
            return (self._is_over() and is_late) or now_ns - self.terminated_ns >= TERMINATION_MAX_NS
        if self.is_refused:
            return self._is_over() or self._launcher_left_ns is not None
        return self._ended_ns is not None and now_ns - self._ended_ns >= MASTER_AWAITED_NS

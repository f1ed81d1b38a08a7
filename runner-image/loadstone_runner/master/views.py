"""Show what the tables hold, as followers and Prometheus read it. Pure: nothing is decided or remembered here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadstone_protocol.views import TimesView, WorkerView
from loadstone_runner.export.prometheus import RunFigures
from loadstone_runner.master.roster import WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.plan.model import RunIdentity
    from loadstone_core.stats.merge import Merge
    from loadstone_runner.master.losses import Loss
    from loadstone_runner.master.roster import Member, Roster


@dataclass(slots=True)
class Times:
    """When the run got where, wall clock, nanoseconds; 0 = not yet."""

    workers_ready_ns: int = 0
    load_started_ns: int = 0
    load_stopped_ns: int = 0
    finished_ns: int = 0

    def finish(self, now_ns: int, *, has_loaded: bool) -> None:
        """Note the end of the run; a load that nobody has seen stop has stopped now."""
        self.finished_ns = now_ns
        if has_loaded:
            self.load_stopped_ns = self.load_stopped_ns or now_ns

    def view(self, start_skew_ns: int) -> TimesView:
        """Return the times for followers."""
        return TimesView(
            workers_ready_ns=self.workers_ready_ns,
            load_started_ns=self.load_started_ns,
            load_stopped_ns=self.load_stopped_ns,
            finished_ns=self.finished_ns,
            start_skew_ns=start_skew_ns,
        )


def worker_view(member: Member, loss: Loss | None = None) -> WorkerView:
    """Return one worker for followers, with what became of its load if it was lost."""
    departure = member.departure
    said = [departure.message] if departure and departure.message else []
    if departure and loss is not None and loss.describe():
        said.append(loss.describe())
    return WorkerView(
        worker=member.worker,
        attempt=member.attempt,
        state=member.state.value,
        pod=member.pod,
        reason=departure.reason if departure else "",
        message="; ".join(said),
        exit_code=departure.exit_code if departure else 0,
        users=member.users,
    )


def figures_of(run: RunIdentity, stage: str, verdict: str, *, roster: Roster, merge: Merge) -> RunFigures:
    """Return what Prometheus is shown; the verdict is empty until there is one."""
    totals = merge.totals()
    return RunFigures(
        loadtest=run.loadtest,
        run=run.number,
        stage=stage,
        verdict=verdict,
        series=tuple(totals.series.values()),
        iterations=totals.iterations,
        users=roster.users(),
        workers=Counter(each.state.value for each in roster.members),
        unaccounted=totals.unaccounted,
    )


def waiting_for(*, has_director: bool, is_set_up: bool, members: Iterable[Member], ready: set[int]) -> str:
    """Return one sentence on what the start of load still needs."""
    members = tuple(members)
    missing = [each.worker for each in members if each.state is WorkerState.EXPECTED]
    if missing:
        return f"{_workers(missing)} of {len(members)} to connect"
    if not is_set_up:
        return "the director to run setup" if has_director else "the director to import the script"
    slow = [each.worker for each in members if each.worker not in ready]
    return f"{_workers(slow)} of {len(members)} to import the script and be ready" if slow else ""


def _workers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""  # noqa: PLR2004 a sentence holds ten
    return f"worker{'s' if len(numbers) > 1 else ''} {shown}{more}"

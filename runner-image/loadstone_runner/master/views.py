"""Show what the tables hold, as followers and Prometheus read it. Pure: nothing is decided or remembered here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_core.units import SECOND
from loadstone_protocol.views import TimesView, WorkerView
from loadstone_runner.export.prometheus import RunFigures
from loadstone_runner.master.member import SAID_MAX, Departure, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.plan.model import RunIdentity
    from loadstone_core.stats.merge import Merge
    from loadstone_protocol.messages import LaneNews
    from loadstone_runner.master.losses import Loss, Losses
    from loadstone_runner.master.member import Member
    from loadstone_runner.master.roster import Roster

STANDSTILL_NS: Final = SECOND


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


def worker_views(roster: Roster, losses: Losses) -> tuple[WorkerView, ...]:
    """Return the workers for followers, but for those who were wanted once and have never come."""
    shown = [each for each in roster.members if not (roster.is_leaving(each) and each.state is WorkerState.EXPECTED)]
    return tuple(worker_view(each, losses.newest(each.worker)) for each in shown)


def worker_view(member: Member, loss: Loss | None = None) -> WorkerView:
    """Return one worker, with what became of its load if it was lost."""
    departure = member.departure or _standstill(member)
    said = [departure.message] if departure and departure.message else []
    if departure and loss is not None and loss.describe():
        said.append(loss.describe())
    return WorkerView(
        worker=member.worker,
        attempt=member.attempt,
        state="retired" if member.has_retired and not member.state.is_over else member.state.value,
        pod=member.pod,
        reason=departure.reason if departure else "",
        message="; ".join(said)[:SAID_MAX],
        exit_code=departure.exit_code if departure else 0,
        users=member.users,
    )


def figures_of(
    run: RunIdentity,
    stage: str,
    verdict: str,
    *,
    roster: Roster,
    merge: Merge,
    director_lanes: Iterable[LaneNews] = (),
) -> RunFigures:
    """Return what Prometheus is shown; the verdict is empty until there is one."""
    totals = merge.totals()
    engines = [each for member in roster.members if not member.state.is_over for each in member.engines]
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
        lanes={
            "director": {each.name: each for each in director_lanes},
            "engine": _together(lane for each in engines for lane in each.lanes),
        },
    )


def waiting_for(who: Roster, *, has_director: bool, is_set_up: bool) -> str:
    """Return one sentence on what the start of load still needs."""
    members, ready = who.members[: who.wanted], who.applied
    gone = who.lost_of_wanted()
    if gone:
        first = gone[0].departure
        why = f" ({first.message or first.reason})" if first else ""
        return f"{_workers([each.worker for each in gone])} of {len(members)} to come again after a loss{why}"
    # Who has ended by now was to leave, and is wanted again.
    missing = [each.worker for each in members if each.state in {WorkerState.EXPECTED, WorkerState.ENDED}]
    if missing:
        return f"{_workers(missing)} of {len(members)} to connect"
    if not is_set_up:
        return "the director to run setup" if has_director else "the director to import the script"
    slow = [each.worker for each in members if each.worker not in ready]
    return f"{_workers(slow)} of {len(members)} to import the script and be ready" if slow else ""


def _standstill(member: Member) -> Departure | None:
    """Return what is wrong with a worker that is there, and whose engines do not come to their loops."""
    worst = max(member.engines, key=lambda each: each.loop_lag_ns, default=None)
    if member.state.is_over or worst is None or worst.loop_lag_ns < STANDSTILL_NS:
        return None
    return Departure("Degraded", f"engine {worst.engine} stood still for {worst.loop_lag_ns / SECOND:.1f} s")


def _together(lanes: Iterable[LaneNews]) -> dict[str, LaneNews]:
    """Return the lanes of all engines by name: sums, and of ages the largest."""
    whole: dict[str, LaneNews] = {}
    for each in lanes:
        held = whole.get(each.name)
        if held is None:
            whole[each.name] = each
            continue
        sums = {name: getattr(held, name) + getattr(each, name) for name in each._fields[1:]}
        most = {name: max(getattr(held, name), getattr(each, name)) for name in ("oldest_ns", "longest_ns")}
        whole[each.name] = each._replace(**{**sums, **most})
    return whole


def _workers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""  # noqa: PLR2004 a sentence holds ten
    return f"worker{'s' if len(numbers) > 1 else ''} {shown}{more}"

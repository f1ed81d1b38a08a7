"""Go on with a run that a former start of this master has begun: what was kept becomes its tables again. Pure.

Three things are kept: what was decided, before anybody hears of it (`decided`); who was granted what, likewise; and
what was counted, every two seconds (`counted`). What lies between the last of these and the end of that start is a gap:
totals are whole again as soon as every worker has said what it counted since it began, and only the timeline shows it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec.model import MasterOnLoss
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.roster import Departure
from loadstone_runner.master.run import Stage
from loadstone_runner.master.views import Times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_core.stats.stream import StreamState
    from loadstone_runner.master.conductor import Conductor
    from loadstone_runner.master.store import Register

BOOT_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """What a former start of this master has left.

    Attributes:
        register: what it decided.
        checkpoint: what it counted, None if it was too short for that.
        grants: who was granted what, None if nobody was granted anything.
        ended: the last states of streams that were done, durable.
        lost: the newest states of streams that were lost, and whether their counters are those of their end.
    """

    register: Register
    checkpoint: Mapping[str, Any] | None = None
    grants: Mapping[str, Any] | None = None
    ended: Sequence[StreamState] = ()
    lost: Sequence[tuple[StreamState, bool]] = ()


def keep(conductor: Conductor) -> None:
    """Let a run be kept from now on."""
    conductor.commander.remember = lambda: decided(conductor)
    conductor.checkpoints.remember = lambda: counted(conductor)


def decided(conductor: Conductor) -> dict[str, Any]:
    """Return what was decided of a run, as JSON has it; it is kept with each version of the configuration."""
    commander = conductor.commander
    return {
        "state": run.remember(conductor.state),
        "order": asdict(commander.order) if commander.order else None,
        "course": conductor.workload.course.remember(),
        "plans": [account.user_seconds.remember_plan() for account in conductor.measurement.accounts],
        "setup": commander.setup_json.decode(),
        "config": dict(commander.config),
        "config_revision": commander.config_revision,
        "load_ns": conductor.load_ns,
        "outside": dict(conductor.outside),
        "departed": conductor.roster.departed(),
        "notes": _notes(conductor),
    }


def counted(conductor: Conductor) -> dict[str, Any]:
    """Return what was counted of a run, as JSON has it."""
    return {
        "at_ns": conductor.clock.boottime_ns(),
        "measurement": conductor.measurement.remember(),
        "roster": conductor.roster.remember(),
        "judge": conductor.judge.remember(),
        "news": conductor.news.remember(),
        "notes": _notes(conductor),
        "times": asdict(conductor.times),
    }


def resume(conductor: Conductor, kept: Kept) -> None:
    """Take a run over: its load goes on, or is ended if the plan says that a master is not to be started again."""
    held = kept.register.run
    _recall_decisions(conductor, kept)
    if kept.checkpoint is not None:
        _recall_counts(conductor, kept.checkpoint)
    for worker, attempt, *departure in held["departed"]:
        # Those were decided upon, and a checkpoint may not know yet.
        conductor.roster.lose(worker, attempt, Departure(*departure))
    _recall_streams(conductor, kept)
    conductor.roster.await_all(conductor.clock.boottime_ns())
    conductor.state = run.recall(held["state"])
    conductor.judge.skip()
    if conductor.state.stage is Stage.FINISHED:
        # It has never begun, so there is nothing to wait for.
        conductor.conclude()
        return
    if conductor.plan.master_on_loss is MasterOnLoss.RESTART:
        conductor.notes.append(_restart_note(conductor, kept))
        conductor.go_on(_order(held["order"]))
        return
    if conductor.state.stage is Stage.STOPPING_LOAD:
        conductor.go_on(_order(held["order"]))
    message = "the master's process ended and was started again; the load was stopped, see its container's last log"
    conductor.handle(run.Broke(Reason.MASTER_LOST, message))


def _recall_decisions(conductor: Conductor, kept: Kept) -> None:
    held, commander = kept.register.run, conductor.commander
    commander.resume(kept.register)
    commander.setup_json = held["setup"].encode()
    commander.resume_config(held["config"], held["config_revision"])
    conductor.times.load_started_ns = kept.register.load_started_ns
    conductor.load_ns = held["load_ns"]
    conductor.outside.update(held["outside"])
    _recall_notes(conductor, held["notes"])
    for account, plan in zip(conductor.measurement.accounts, held["plans"], strict=True):
        account.user_seconds.recall_plan(plan)
    conductor.workload.recall(held)
    if kept.grants is not None:
        conductor.workload.grants.recall(kept.grants)
    conductor.workload.grants.number_from((commander.boot << BOOT_BITS) + 1)


def _notes(conductor: Conductor) -> list[tuple[str, str]]:
    return [(each.reason.value, each.message) for each in conductor.notes]


def _recall_notes(conductor: Conductor, notes: Sequence[Sequence[str]]) -> None:
    held = [Cause(Reason(reason), message) for reason, message in notes]
    conductor.notes += [each for each in held if each not in conductor.notes]


def _recall_counts(conductor: Conductor, checkpoint: Mapping[str, Any]) -> None:
    conductor.measurement.recall(checkpoint["measurement"])
    conductor.roster.recall(checkpoint["roster"])
    conductor.judge.recall(checkpoint["judge"])
    conductor.news.recall(*checkpoint["news"])
    _recall_notes(conductor, checkpoint["notes"])
    conductor.times = Times(**checkpoint["times"])


def _recall_streams(conductor: Conductor, kept: Kept) -> None:
    """Merge what will not be said again. A worker of which every engine's last state is kept has ended."""
    since_start_ns = conductor.commander.since_start_ns()
    done: dict[tuple[int, int], int] = {}
    for state in kept.ended:
        conductor.farewells.see(state)
        conductor.measurement.apply(state, since_start_ns=since_start_ns)
        conductor.measurement.merge.close(state.stream, state.counters, clean=True)
        worker = (state.stream.worker, state.stream.attempt)
        done[worker] = done.get(worker, 0) + 1
    for (number, attempt), engines in done.items():
        member = conductor.roster.members[number]
        if engines >= conductor.plan.engines_per_worker and not member.state.is_over and attempt >= member.attempt:
            conductor.roster.restore(number, attempt)
    for state, is_known in kept.lost:
        conductor.farewells.see(state)
        conductor.measurement.apply(state, since_start_ns=since_start_ns)
        conductor.measurement.merge.close(state.stream, state.counters if is_known else None)


def _restart_note(conductor: Conductor, kept: Kept) -> Cause:
    now_ns = conductor.clock.boottime_ns()
    away = ""
    if kept.checkpoint is not None:
        away = f" It was away for at most {(now_ns - kept.checkpoint['at_ns']) / SECOND:.1f} s."
    text = (
        f"the master's process ended and was started again (start {conductor.commander.boot}); the load went on, and "
        f"the totals are whole: the timeline has a gap there.{away}"
    )
    return Cause(Reason.MASTER_RESTARTED, text)


def _order(held: Mapping[str, Any]) -> run.Configure:
    return run.Configure(RunOrder(held["order"]), held["stop_reason"], held["is_immediate"])

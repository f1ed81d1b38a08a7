"""Go on with a run that a former start of this master has begun: what was kept becomes its tables again. Pure.

Three things are kept: what was decided, before anybody hears of it (`decided`); who was granted what, likewise; and
what was counted, every two seconds (`counted`). What lies between the last of these and the end of that start is a gap:
totals are whole again as soon as every worker has said what it counted since it began, and only the timeline shows it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import LoadstoneError
from loadstone_core.spec.model import MasterOnLoss
from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.messages import RunOrder
from loadstone_runner.master import run
from loadstone_runner.master.farewell import TERMINATED
from loadstone_runner.master.member import Departure, WorkerState
from loadstone_runner.master.memory import from_memory, to_memory
from loadstone_runner.master.run import Stage
from loadstone_runner.master.store import Register
from loadstone_runner.master.views import Times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadstone_core.stats.stream import StreamState
    from loadstone_protocol.messages import Inheritance as Word
    from loadstone_runner.master.conductor import Conductor
    from loadstone_runner.master.inheritance import Inheritance
    from loadstone_runner.master.member import Member

BOOT_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Kept:
    """What a former start of this master has left.

    Attributes:
        register: what it decided.
        checkpoint: what it counted, None if it was too short for that.
        grants: who was granted what, None if nobody was granted anything.
        ended: the last states of streams that were done, durable.
        is_inherited: it was another pod's, and workers have told it.
        lost: the newest states of streams that were lost, and whether their counters are those of their end.
    """

    register: Register
    checkpoint: Mapping[str, Any] | None = None
    grants: Mapping[str, Any] | None = None
    ended: Sequence[StreamState] = ()
    is_inherited: bool = False
    lost: Sequence[tuple[StreamState, bool]] = ()


def keep(conductor: Conductor) -> None:
    """Let a run be kept from now on."""
    conductor.commander.remember = lambda: decided(conductor)
    conductor.commander.bequeath = lambda: to_memory(decided(conductor), is_shaped=conductor.plan.is_shaped)
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
        "excused": conductor.roster.remember_excused(),
        "workers": [conductor.roster.wanted, len(conductor.roster.members)],
        "notes": _notes(conductor),
        "restarts": commander.restarts.remember(),
        "handles_messages": conductor.director.handles_messages,
    }


def counted(conductor: Conductor) -> dict[str, Any]:
    """Return what was counted of a run, as JSON has it."""
    return {
        "at_ns": conductor.clock.boottime_ns(),
        "measurement": conductor.measurement.remember(),
        "roster": conductor.roster.remember(),
        "losses": conductor.relief.losses.remember(),
        "judge": conductor.judge.remember(),
        "news": conductor.news.remember(),
        "notes": _notes(conductor),
        "times": asdict(conductor.times),
        "wordless": conductor.farewells.remember(),
    }


_NOT_ALONE: Final = (
    "nobody saw the master before it end, so what workers did that do not come to this one is given to nobody"
)


def resume(conductor: Conductor, kept: Kept) -> None:
    """Take a run over: its load goes on, or is ended if the plan says that a master is not to be started again."""
    held = kept.register.run
    conductor.state = run.recall(held["state"])
    is_barred = conductor.state.stage is Stage.GATHERING
    _recall_decisions(conductor, kept, is_barred=is_barred)
    if kept.checkpoint is not None:
        _recall_counts(conductor, kept.checkpoint)
    if kept.grants is not None:
        _replace(conductor, kept.grants["attempts"])
    if not is_barred:
        _do_without(conductor, kept)
        for worker, attempt in conductor.workload.shares.attempts().items():
            # Before it was told to make load that was kept; the checkpoint may be older.
            conductor.roster.expect(worker, attempt)
            if not kept.is_inherited:
                conductor.roster.await_one(worker)
    for worker, attempt, *departure in held["departed"]:
        # Those were decided upon, and a checkpoint may not know yet.
        conductor.roster.lose(worker, attempt, Departure(*departure))
    ended = _recall_streams(conductor, kept)
    conductor.roster.await_all(conductor.relief.began_ns, is_barred=is_barred)
    _note_losses(conductor)
    conductor.judge.skip()
    if conductor.state.stage is Stage.FINISHED:
        # It has never begun, or was killed when its load was over, so there is nothing to wait for.
        conductor.conclude()
        return
    if conductor.plan.master_on_loss is MasterOnLoss.RESTART:
        _note_restart(conductor, kept)
        conductor.go_on(_order(held["order"]))
        _lose_early(conductor, ended)
        return
    if conductor.state.stage is Stage.STOPPING_LOAD:
        conductor.go_on(_order(held["order"]))
    message = "the master's process ended and was started again; the load was stopped, see its container's last log"
    conductor.handle(run.Broke(Reason.MASTER_LOST, message))


def _replace(conductor: Conductor, attempts: Iterable[int]) -> None:
    """Begin anew with workers that a checkpoint knows in a later attempt than those to which numbers were granted."""
    for member, attempt in zip(conductor.roster.members, attempts, strict=False):
        if 0 < attempt < member.attempt:
            was_idle = not conductor.commander.has_ordered_load
            conductor.workload.grants.replace(member.worker, attempt, was_idle=was_idle)
        conductor.roster.expect(member.worker, attempt)


def _note_losses(conductor: Conductor) -> None:
    """Bring what was counted of losses up to date: later ones were decided upon, and somebody may have come since."""
    losses = conductor.relief.losses
    newest = {each.worker: each.attempt for each in losses}
    for member in conductor.roster.members:
        if member.attempt > newest.get(member.worker, member.attempt):
            losses.replace(member.worker)
    for member in conductor.roster.lost():
        if member.departure is not None and member.attempt != newest.get(member.worker):
            conductor.relief.note(member, member.departure)


def _do_without(conductor: Conductor, kept: Kept) -> None:
    """Wait for nobody whom a load that was ordered does without, but for those of whom it is known that they came."""
    # Masters of earlier releases did not keep that.
    for worker in conductor.roster.recall_excused(kept.register.run.get("excused", ())):
        # In another pod nobody knows who has come since. In this one it was kept before they were given any load, and
        # what is kept of shares may be older than the decision to do without this worker.
        if not kept.is_inherited:
            conductor.relief.do_without(worker)


def begin_again(conductor: Conductor, grants: Mapping[str, Any]) -> None:
    """Begin with as many workers as a former start of this master wanted, which had decided nothing yet."""
    shares = grants["shares"]
    _recall_workers(conductor, shares["wanted"], len(shares["versions"]), is_barred=True)
    conductor.relief.divide()


def await_inheritance(conductor: Conductor, *, workers: int = 0, made: int = 0) -> None:
    """Let a master whose predecessor's pod was lost wait for what the workers hold of it.

    `workers` are wanted when it begins, and so many were `made` at any time before; 0: as many as were planned.
    """
    # Of those that were added later nobody may have come yet, and a load that goes on does not wait for them.
    is_barred = not conductor.relief.standing.has_begun
    _recall_workers(conductor, workers or conductor.plan.workers, made, is_barred=is_barred)
    now_ns = conductor.clock.monotonic_ns()
    lost_ns = conductor.roster.lost_ns
    wanted, is_changed = conductor.roster.wanted, _has_resized(conductor)
    conductor.inheritance.begin(
        range(wanted), now_ns, lambda: _inherit(conductor), lost_ns=lost_ns, is_changed=is_changed
    )


def _inherit(conductor: Conductor) -> None:
    """Go on from the newest that any worker holds; from the beginning if there is nothing."""
    inheritance = conductor.inheritance
    word = inheritance.newest
    if word is not None:
        try:
            _enter(conductor, inheritance, word)
        except (LoadstoneError, LookupError, TypeError, ValueError) as error:
            conductor.state = run.RunState()
            _give_up(conductor, f"the master's pod was lost, and what workers hold of it cannot be read: {error!r}")
        return
    standing = conductor.relief.standing
    if standing.has_begun or not (standing.is_sole or inheritance.is_of_first_attempts):
        # It may have been over, or go on with workers that do not come here; nobody here knows what was done.
        for member in conductor.roster.members:
            conductor.farewells.lose(member.worker, max(1, member.attempt), has_begun=True)
        text = "the master's pod was lost, and no worker has come to this one that knows how far the run was"
        _give_up(conductor, text)
    # Nobody was told anything, so nobody has to give anything up.
    conductor.relief.divide()


def _give_up(conductor: Conductor, why: str) -> None:
    """End a run of which nothing is known; that it is to be killed is known all the same."""
    is_killed = conductor.inheritance.is_hurried
    conductor.handle(run.KillAsked() if is_killed else run.Broke(Reason.MASTER_LOST, why))


def _enter(conductor: Conductor, inheritance: Inheritance, word: Word) -> None:
    """Take over what a worker has told."""
    start_at_ns = inheritance.start_ns()
    since_start_ns = conductor.clock.monotonic_ns() - start_at_ns if start_at_ns else 0
    memory = {**from_memory(word.memory), "setup": word.setup_json.decode()}
    started_ns = conductor.clock.wall_ns() - since_start_ns if start_at_ns else 0
    register = Register(conductor.epoch, 0, start_at_ns, started_ns, boot=0, run=memory)
    conductor.measurement.begin_late(since_start_ns)
    _recall_grants(conductor, inheritance)
    _recall_shares(conductor, inheritance)
    # Another start of this master will find its register, and must not grant anew what these say.
    conductor.crew.keep()
    resume(conductor, Kept(register, is_inherited=True))
    for member in conductor.roster.lost():
        conductor.farewells.lose(member.worker, member.attempt, has_begun=conductor.commander.has_ordered_load)
    for member in conductor.roster.members:
        # What its earlier attempts did was known to nobody but the master before.
        for attempt in range(1, member.attempt):
            conductor.farewells.lose(member.worker, attempt, has_begun=conductor.commander.has_ordered_load)
    what = conductor.director.kept_there(is_shaped=conductor.plan.is_shaped)
    if what and conductor.state.stage in {Stage.ARMED, Stage.RUNNING_LOAD}:
        text = f"the director was in the pod of the master that was lost, and with it {what}"
        conductor.handle(run.Broke(Reason.DIRECTOR_LOST, text))


def _recall_grants(conductor: Conductor, inheritance: Inheritance) -> None:
    """Grant on behind everything that workers were granted, once all have spoken that are not lost."""
    conductor.workload.grants.await_words()
    for worker, word in inheritance.words.items():
        conductor.workload.learn_granted(worker, inheritance.attempts[worker], word)


def _recall_shares(conductor: Conductor, inheritance: Inheritance) -> None:
    """Let everybody do what they do, by the words of those that have not been replaced since they spoke."""
    told = {
        worker: (attempt, inheritance.words[worker].shares)
        for worker, attempt in inheritance.attempts.items()
        if attempt == conductor.roster.members[worker].attempt
    }
    conductor.workload.shares.inherit(told, has_resized=_has_resized(conductor))


def _has_resized(conductor: Conductor) -> bool:
    return {conductor.roster.wanted, len(conductor.roster.members)} != {conductor.plan.workers}


def _recall_decisions(conductor: Conductor, kept: Kept, *, is_barred: bool) -> None:
    held, commander = kept.register.run, conductor.commander
    # A load that goes on does not wait for those that were added to it, and may have come to nobody yet.
    _recall_workers(conductor, *_workers_of(conductor, kept), is_barred=is_barred)
    commander.resume(kept.register)
    commander.setup_json = held["setup"].encode()
    commander.resume_config(held["config"], held["config_revision"])
    conductor.times.load_started_ns = kept.register.load_started_ns
    conductor.load_ns = held["load_ns"]
    conductor.director.handles_messages |= held.get("handles_messages", False)
    conductor.outside.update(held["outside"])
    _recall_notes(conductor, held["notes"])
    if "restarts" in held:
        # Masters of earlier releases kept a note of each.
        commander.restarts.recall(held["restarts"])
    for account, plan in zip(conductor.measurement.accounts, held["plans"], strict=True):
        account.user_seconds.recall_plan(plan)
    conductor.workload.recall(held)
    if kept.grants is not None:
        conductor.workload.grants.recall(kept.grants["grants"])
        conductor.workload.shares.recall(kept.grants["shares"])
    conductor.workload.grants.number_from((commander.boot << BOOT_BITS) + 1)
    if conductor.workload.shares.wanted != conductor.roster.wanted or (kept.is_inherited and _has_resized(conductor)):
        conductor.workload.resize()


def _workers_of(conductor: Conductor, kept: Kept) -> tuple[int, int]:
    """Return how many workers are wanted, and were at any time: each table was kept at a moment of its own."""
    wanted, made = kept.register.run["workers"]
    if kept.is_inherited:
        # Whoever has made this master knows how many are wanted since.
        wanted = conductor.roster.wanted
    if kept.grants is not None:
        shares = kept.grants["shares"]
        wanted, made = shares["wanted"], max(made, len(shares["versions"]))
    if kept.checkpoint is not None:
        made = max(made, len(kept.checkpoint["roster"]))
    return wanted, made


def _recall_workers(conductor: Conductor, wanted: int, made: int, *, is_barred: bool) -> None:
    """Know everybody who was wanted at any time before."""
    roster = conductor.roster
    roster.resize(max(made, len(roster.members)), is_barred=is_barred)
    roster.resize(wanted, is_barred=is_barred)
    conductor.workload.make_room()
    # Who was wanted once is still heard.
    conductor.mail.resize(len(roster.members))
    conductor.mail.resize(wanted)


def _notes(conductor: Conductor) -> list[tuple[str, str]]:
    return [(each.reason.value, each.message) for each in conductor.notes]


def _recall_notes(conductor: Conductor, notes: Sequence[Sequence[str]]) -> None:
    held = [Cause(Reason(reason), message) for reason, message in notes]
    conductor.notes += [each for each in held if each not in conductor.notes]


def _recall_counts(conductor: Conductor, checkpoint: Mapping[str, Any]) -> None:
    conductor.measurement.recall(checkpoint["measurement"])
    conductor.roster.recall(checkpoint["roster"])
    if "losses" in checkpoint:
        # Masters of earlier releases did not keep them.
        conductor.relief.losses.recall(checkpoint["losses"])
    conductor.judge.recall(checkpoint["judge"])
    conductor.news.recall(*checkpoint["news"])
    _recall_notes(conductor, checkpoint["notes"])
    conductor.times = Times(**checkpoint["times"])
    # Masters of earlier releases did not keep that.
    conductor.farewells.recall(checkpoint.get("wordless", ()))


def _recall_streams(conductor: Conductor, kept: Kept) -> list[Member]:
    """Merge what will not be said again; return the workers of which every engine's last state is kept.

    They have ended. Whether they were lost by that, the master before may have had no time to write down.
    """
    ended = []
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
            ended.append(member)
    for state, is_known in kept.lost:
        conductor.farewells.see(state)
        conductor.measurement.apply(state, since_start_ns=since_start_ns)
        conductor.measurement.merge.close(state.stream, state.counters if is_known else None)
    return ended


def _lose_early(conductor: Conductor, ended: Iterable[Member]) -> None:
    """Count those for lost that ended while the load goes on, as a living master does when it hears of it."""
    conductor.check_load(ahead_ns=SECOND)
    for member in ended:
        if conductor.state.stage is Stage.RUNNING_LOAD and conductor.state.order is RunOrder.RUNNING:
            member.state = WorkerState.SUSPECT
            conductor.lose(member.worker, member.attempt, TERMINATED)


def _note_restart(conductor: Conductor, kept: Kept) -> None:
    if not kept.is_inherited:
        before = kept.checkpoint
        conductor.commander.restarts.note(None if before is None else conductor.clock.boottime_ns() - before["at_ns"])
        return
    alone = "" if conductor.relief.standing.is_sole else f"; {_NOT_ALONE}"
    text = (
        f"the master's pod was lost and another took over (epoch {conductor.epoch}); the load went on, and the "
        "totals of living workers are whole; nothing is known of streams that had ended, and seconds before are "
        f"not in the timeline and in no window of a threshold{alone}"
    )
    conductor.notes.append(Cause(Reason.MASTER_RESTARTED, text))


def _order(held: Mapping[str, Any]) -> run.Configure:
    return run.Configure(RunOrder(held["order"]), held["stop_reason"], held["is_immediate"])

"""Watch how hard the workers of a run have it, and say with figures which of them had it too hard. Pure.

What a late generator means for the verdict is core's; that it was late is counted for all workers in `account`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.units import SECOND, format_latency
from loadstone_core.verdict.causes import SATURATED_LAG_NS
from loadstone_core.verdict.reasons import Cause, Reason
from loadstone_protocol.messages import EngineStage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from loadstone_protocol.messages import EngineNews, Heartbeat

# A worker is degraded by so many seconds beyond a limit, if they are more than this share of the load's.
DEGRADED_SECONDS: Final = 3
DEGRADED_PERCENT: Final = 10
# One standstill of this length degrades it by itself.
STALLED_NS: Final = 5 * SECOND
# Share of a second in which the CPU limit kept engines from running.
THROTTLED_PERMILLE: Final = 100
MEMORY_HIGH_PERCENT: Final = 85
# Measured 17 KiB: a histogram of 2,000 log-normal samples with its key and what is reported of it; counters have less.
SERIES_BYTES: Final = 16 * 1024
SHOWN: Final = 5  # workers; the others are counted

_MIB: Final = 1024 * 1024


@dataclass(slots=True)
class _Worker:
    """The worst of one worker. Durations are nanoseconds."""

    pod: str = ""
    attempt: int = 0
    strained_seconds: int = 0
    strained_to: int = -1  # the newest second that is counted
    lag_ns: int = 0
    slip_ns: int = 0
    agent_lag_ns: int = 0
    throttled_permille: int = 0
    cpu_permille: int = 0
    engine_cpu_permille: int = 0
    memory_bytes: int = 0  # the most that was high
    memory_limit_bytes: int = 0
    owners: str = ""
    ready_bytes: dict[tuple[int, int], int] = field(default_factory=dict)  # (engine, start) -> before its first user

    def see(self, beat: Heartbeat, at_work: Sequence[EngineNews], second: int) -> None:
        """Take in how late those engines were that had users to serve in a second of the load."""
        lag_ns = max((each.loop_lag_ns for each in at_work), default=0)
        slip_ns = max((each.schedule_slip_ns for each in at_work), default=0)
        self.lag_ns, self.slip_ns = max(self.lag_ns, lag_ns), max(self.slip_ns, slip_ns)
        self.agent_lag_ns = max(self.agent_lag_ns, beat.agent_lag_ns)
        self.throttled_permille = max(self.throttled_permille, beat.throttled_permille)
        self.cpu_permille = max(self.cpu_permille, beat.cpu_permille)
        busiest = max((each.cpu_permille for each in at_work), default=0)
        self.engine_cpu_permille = max(self.engine_cpu_permille, busiest)
        late_ns = max(lag_ns, slip_ns)
        if late_ns > SATURATED_LAG_NS or beat.throttled_permille > THROTTLED_PERMILLE:
            # One that was late by seconds was late in each of them.
            first = max(self.strained_to + 1, second - late_ns // SECOND, 0)
            self.strained_seconds += max(0, second - first + 1)
            self.strained_to = max(self.strained_to, second)

    def weigh(self, beat: Heartbeat) -> None:
        """Take in its memory, and who owns it while that is the most so far."""
        for each in beat.engines:
            if each.stage is EngineStage.READY and not each.users:
                self.ready_bytes[each.engine, each.start] = each.memory_bytes
        used = beat.cgroup_bytes or beat.memory_bytes
        limit = beat.memory_limit_bytes
        if limit and used * 100 >= limit * MEMORY_HIGH_PERCENT and used > self.memory_bytes:
            self.memory_bytes, self.memory_limit_bytes = used, limit
            self.owners = self._owners(beat)

    def is_degraded(self, seconds: int) -> bool:
        """Say whether it was beyond a limit for too long, in a load of so many seconds."""
        share = self.strained_seconds * 100 > seconds * DEGRADED_PERCENT
        return (self.strained_seconds >= DEGRADED_SECONDS and share) or self.lag_ns >= STALLED_NS

    def _owners(self, beat: Heartbeat) -> str:
        """Return what the memory is used for, the largest first. Only the sum is exact."""
        script = sum(map(self._ready, beat.engines))
        series = sum(each.series for each in beat.engines)
        queues = sum(each.queued_bytes for each in beat.engines)
        rest = sum(each.memory_bytes for each in beat.engines) - script - series * SERIES_BYTES - queues
        owners = (
            (max(0, rest), f"{beat.users} users and what the script keeps"),
            (script, "the script and its imports"),
            (series * SERIES_BYTES, f"{series} series"),
            (queues, "queues to the agent"),
            (beat.spool_bytes, "the spool"),
        )
        named = sorted((each for each in owners if each[0] >= _MIB), reverse=True)
        return ", ".join(f"{who} about {_mib(size)}" for size, who in named)

    def _ready(self, engine: EngineNews) -> int:
        return min(engine.memory_bytes, self.ready_bytes.get((engine.engine, engine.start), 0))


_FIGURES: Final = tuple(each.name for each in fields(_Worker) if each.name != "ready_bytes")


class Strain:
    """How hard each worker of one run has had it."""

    def __init__(self) -> None:
        self._workers: dict[int, _Worker] = {}
        self._seconds = 0

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        workers = [
            {name: getattr(each, name) for name in _FIGURES}
            | {"number": number, "ready_bytes": [[*key, size] for key, size in each.ready_bytes.items()]}
            for number, each in self._workers.items()
        ]
        return {"seconds": self._seconds, "workers": workers}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another master of the run was."""
        self._seconds = held["seconds"]
        for each in held["workers"]:
            ready = {(engine, start): size for engine, start, size in each["ready_bytes"]}
            figures = {name: each[name] for name in _FIGURES}
            self._workers[each["number"]] = _Worker(**figures, ready_bytes=ready)

    def observe(
        self, worker: int, beat: Heartbeat, *, at_work: Sequence[EngineNews], attempt: int, pod: str, second: int
    ) -> None:
        """Take in a heartbeat.

        Args:
            worker: whose it is.
            beat: the heartbeat.
            at_work: its engines that had users to serve when the second began.
            attempt: of the worker.
            pod: of the worker.
            second: the newest one of the load that is over, -1 before there is one.
        """
        known = self._workers.setdefault(worker, _Worker())
        if attempt != known.attempt:
            # Another pod with other engines: what it weighs is its own, what the worker went through stays.
            known.attempt, known.pod = attempt, pod
            known.ready_bytes.clear()
        known.weigh(beat)
        if second >= 0:
            self._seconds = max(self._seconds, second + 1)
            known.see(beat, at_work, second)

    def findings(self) -> tuple[Cause, ...]:
        """Return who was degraded and whose memory was nearly used up, the worst first, each with its figures."""
        late = [(number, each) for number, each in self._workers.items() if each.is_degraded(self._seconds)]
        late.sort(key=lambda each: (-each[1].strained_seconds, each[0]))
        full = [(number, each) for number, each in self._workers.items() if each.memory_bytes]
        full.sort(key=lambda each: (-each[1].memory_bytes * 100 // each[1].memory_limit_bytes, each[0]))
        return (
            *_shown(Reason.WORKER_DEGRADED, [_lateness(*each, seconds=self._seconds) for each in late]),
            *_shown(Reason.MEMORY_HIGH, [_fullness(*each) for each in full]),
        )


def _shown(reason: Reason, sentences: list[str]) -> Iterator[Cause]:
    for sentence in sentences[:SHOWN]:
        yield Cause(reason, sentence)
    if len(sentences) > SHOWN:
        yield Cause(reason, f"{len(sentences) - SHOWN} more workers likewise")


def _lateness(number: int, worker: _Worker, *, seconds: int) -> str:
    figures = [f"loop lag up to {_time(worker.lag_ns)}"]
    figures += _above(worker.slip_ns, f"schedule slip up to {_time(worker.slip_ns)}")
    figures += _above(worker.throttled_permille, f"kept from running by its CPU limit up to {_share(worker)}")
    figures += _above(worker.cpu_permille, f"CPU up to {_cores(worker.cpu_permille)}")
    figures += _above(worker.engine_cpu_permille, f"of one engine up to {_cores(worker.engine_cpu_permille)}")
    if worker.agent_lag_ns > SATURATED_LAG_NS:
        figures.append(f"its agent, too, was late by up to {_time(worker.agent_lag_ns)}, so its node is busy")
    who = f"worker {number} ({worker.pod})"
    how = f"over 100 ms late or throttled in {worker.strained_seconds} of {seconds} s: {', '.join(figures)}"
    if worker.lag_ns >= STALLED_NS:
        return (
            f"{who} stood still for up to {worker.lag_ns / SECOND:.1f} s, as code in it computed without waiting, and "
            f"was {how}; its log shows where the script was, and a handler that computes can run with where='process'"
        )
    return f"{who} was {how}; give workers more CPU, add workers, or look for what holds the loop"


def _fullness(number: int, worker: _Worker) -> str:
    percent = worker.memory_bytes * 100 // worker.memory_limit_bytes
    owners = f": {worker.owners}" if worker.owners else ""
    return (
        f"worker {number} ({worker.pod}) used {_mib(worker.memory_bytes)} of {_mib(worker.memory_limit_bytes)} "
        f"({percent} %){owners}; raise workers.template.resources.limits.memory, or spread the users over more workers"
    )


def _above(figure: int, sentence: str) -> Iterable[str]:
    return (sentence,) if figure else ()


def _time(duration_ns: int) -> str:
    return format_latency(duration_ns // 1_000)


def _share(worker: _Worker) -> str:
    return f"{worker.throttled_permille // 10} % of a second"


def _cores(permille: int) -> str:
    return f"{permille / 1_000:.1f} cores"


def _mib(size: int) -> str:
    return f"{size // _MIB} MiB"

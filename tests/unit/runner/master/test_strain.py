"""Who had it too hard is named with figures, and memory before it is used up with its owners."""

import json
from dataclasses import replace
from typing import Any

import pytest

from loadstone_core.units import SECOND
from loadstone_core.verdict.reasons import Reason
from loadstone_protocol.messages import EngineNews, EngineStage, Heartbeat
from loadstone_runner.master.strain import SERIES_BYTES, Strain

promise = pytest.mark.promise
MIB = 1024 * 1024
ENGINE = EngineNews(
    engine=0,
    start=1,
    stage=EngineStage.RUNNING,
    users=10,
    loop_lag_ns=1_000_000,
    schedule_slip_ns=0,
    grants=(),
    over=frozenset(),
    script=None,
    started_at_ns=1,
)
BEAT = Heartbeat(
    number=1,
    sent_ns=0,
    applied=None,
    applied_digest="",
    assignment=1,
    engines=(ENGINE,),
    cpu_permille=1_400,
    memory_bytes=0,
    memory_limit_bytes=0,
    round_trip_ns=0,
    conflict=None,
    is_draining=False,
)


def beat(engine: dict[str, Any] | None = None, **fields: Any) -> Heartbeat:
    return replace(BEAT, engines=(replace(ENGINE, **engine),) if engine else (ENGINE,), **fields)


def told(strain: Strain, worker: int, beat: Heartbeat, *, attempt: int, pod: str, second: int) -> None:
    strain.observe(worker, beat, at_work=beat.engines, attempt=attempt, pod=pod, second=second)


def seen(*beats: Heartbeat, strain: Strain | None = None, worker: int = 0) -> Strain:
    strain = strain or Strain()
    for second, each in enumerate(beats):
        told(strain, worker, each, attempt=1, pod=f"pod-{worker}", second=second)
    return strain


LATE = beat({"loop_lag_ns": 250_000_000, "schedule_slip_ns": 40_000_000, "cpu_permille": 990})


@promise("saturation-told")
def test_a_worker_that_was_late_too_often_is_named_with_its_figures() -> None:
    (cause,) = seen(*[LATE] * 4, *[BEAT] * 20).findings()

    assert cause.reason is Reason.WORKER_DEGRADED
    assert cause.message.startswith("worker 0 (pod-0) was over 100 ms late or throttled in 4 of 24 s: ")
    for figure in ("loop lag up to 250ms", "schedule slip up to 40.0ms", "CPU up to 1.4 cores", "one engine up to 1.0"):
        assert figure in cause.message


@promise("saturation-told")
@pytest.mark.parametrize("beats", [[BEAT] * 50, [LATE] * 2, [*[LATE] * 3, *[BEAT] * 40]])
def test_a_worker_that_was_late_now_and_then_is_not(beats) -> None:
    assert seen(*beats).findings() == ()


@promise("saturation-told")
def test_a_second_counts_once_however_many_heartbeats_tell_of_it() -> None:
    strain = Strain()
    for _ in range(10):
        told(strain, 0, LATE, attempt=1, pod="pod", second=7)

    assert strain.findings() == ()


@promise("saturation-told")
def test_what_an_engine_was_late_before_it_had_users_is_no_load_that_was_late() -> None:
    strain = Strain()
    for second in range(10):
        strain.observe(0, LATE, at_work=(), attempt=1, pod="pod", second=second)

    assert strain.findings() == ()


@promise("saturation-told")
def test_one_long_standstill_degrades_and_counts_for_every_second_of_it() -> None:
    stalled = beat({"loop_lag_ns": 30 * SECOND})
    (cause,) = seen(*[BEAT] * 300, stalled).findings()

    assert cause.message.startswith("worker 0 (pod-0) stood still for up to 30.0 s, as code in it computed")
    assert "in 31 of 301 s: loop lag up to 30" in cause.message


@promise("saturation-told")
def test_throttling_degrades_and_a_busy_node_is_said() -> None:
    (cause,) = seen(*[beat(throttled_permille=450, agent_lag_ns=300_000_000)] * 3).findings()

    assert "kept from running by its CPU limit up to 45 % of a second" in cause.message
    assert "its agent, too, was late by up to 300ms, so its node is busy" in cause.message


@promise("saturation-told")
def test_the_worst_are_named_and_the_others_counted() -> None:
    strain = Strain()
    for worker in range(7):
        seen(*[LATE] * (3 + worker), *[BEAT] * 5, strain=strain, worker=worker)

    causes = strain.findings()

    assert [cause.message.split()[1] for cause in causes[:5]] == ["6", "5", "4", "3", "2"]
    assert causes[5].message == "2 more workers likewise"
    assert len(causes) == 6


def heavy(mib: int, **fields: Any) -> Heartbeat:
    engine = {"memory_bytes": (mib - 20) * MIB, "series": 1_000, "queued_bytes": 2 * MIB, "users": 5_000}
    return beat(engine, cgroup_bytes=mib * MIB, memory_limit_bytes=512 * MIB, **fields)


@promise("memory-high")
def test_memory_beyond_85_percent_of_its_limit_is_told_with_its_owners_while_it_is_the_most() -> None:
    strain = Strain()
    ready = beat({"stage": EngineStage.READY, "users": 0, "memory_bytes": 60 * MIB})
    told(strain, 3, ready, attempt=1, pod="w-3", second=-1)
    told(strain, 3, heavy(430), attempt=1, pod="w-3", second=5)
    assert strain.findings() == ()

    told(strain, 3, heavy(440, spool_bytes=5 * MIB), attempt=1, pod="w-3", second=6)
    told(strain, 3, heavy(300), attempt=1, pod="w-3", second=7)

    (cause,) = strain.findings()
    assert cause.reason is Reason.MEMORY_HIGH
    users = 420 - 60 - 1_000 * SERIES_BYTES // MIB - 2 - 1
    assert cause.message == (
        f"worker 3 (w-3) used 440 MiB of 512 MiB (85 %): 5000 users and what the script keeps about {users} MiB, "
        "the script and its imports about 60 MiB, 1000 series about 15 MiB, the spool about 5 MiB, "
        "queues to the agent about 2 MiB; raise workers.template.resources.limits.memory, or spread the users over "
        "more workers"
    )


@promise("memory-high")
def test_what_another_pod_of_a_worker_weighs_is_its_own() -> None:
    strain = Strain()
    ready = beat({"stage": EngineStage.READY, "users": 0, "memory_bytes": 300 * MIB})
    told(strain, 0, ready, attempt=1, pod="old", second=-1)
    told(strain, 0, heavy(500), attempt=2, pod="new", second=5)

    (cause,) = strain.findings()

    assert cause.message.startswith("worker 0 (new) used 500 MiB of 512 MiB (97 %): 5000 users")
    assert "imports" not in cause.message


@promise("memory-high")
def test_without_a_limit_or_a_cgroup_the_engines_own_memory_counts_or_nothing_does() -> None:
    assert seen(beat(cgroup_bytes=10**12)).findings() == ()
    (cause,) = seen(beat(memory_bytes=90 * MIB, memory_limit_bytes=100 * MIB)).findings()

    assert cause.message.startswith("worker 0 (pod-0) used 90 MiB of 100 MiB (90 %); raise")


@promise("memory-high", "master-restart")
def test_a_later_start_of_a_master_tells_what_one_alone_would_have_told() -> None:
    alone = Strain()
    ready = beat({"stage": EngineStage.READY, "users": 0, "memory_bytes": 60 * MIB})
    told(alone, 3, ready, attempt=1, pod="w-3", second=-1)
    seen(*[LATE] * 4, strain=alone, worker=3)
    later = Strain()
    later.recall(json.loads(json.dumps(alone.remember())))
    assert later.findings() == alone.findings() != ()

    for each in (alone, later):
        told(each, 3, heavy(440), attempt=1, pod="w-3", second=6)

    assert later.findings() == alone.findings()
    assert "the script and its imports about 60 MiB" in later.findings()[-1].message

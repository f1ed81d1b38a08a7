"""Turn what agents and followers send into checked values, and a master's words into messages. No gRPC here."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from loadstone_core.load.change import Aim
from loadstone_core.register import Version
from loadstone_core.spec.defaults import ENGINES_MOST, REPLICAS_MOST
from loadstone_core.stats.stream import BLOCKS
from loadstone_protocol.allotment import grant_news, grants_to_messages, shares_to_messages
from loadstone_protocol.codec import (
    MOMENT_MAX_NS,
    WireError,
    counters_from_message,
    scenario_to_message,
    stream_id_from_message,
)
from loadstone_protocol.inheritance import inheritance_from_message
from loadstone_protocol.messages import (
    AgentWord,
    Bye,
    EngineEnd,
    EngineNews,
    EngineStage,
    Heartbeat,
    Hello,
    LaneNews,
    LogEnd,
    Peer,
    Ping,
    Refusal,
    RefusalCode,
    RunOrder,
    ScriptNews,
    Steering,
    WorkerEnd,
)
from loadstone_protocol.v1 import control_pb2, coordination_pb2, engine_pb2
from loadstone_protocol.version import RELEASE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_core.load.grant import Grant
    from loadstone_core.load.lots import Share
    from loadstone_core.load.scenario import Scenario

TEXT_MAX: Final = 8_192
LOGS_MAX: Final = 4 * ENGINES_MOST
BOOT_MAX: Final = 64
DIGEST_BYTES: Final = 32
GRANTS_MAX: Final = 128
SIGNAL_MAX: Final = 127  # which exit codes have room for
USERS_MAX: Final = 2**32 - 1  # of all engines of a worker: what followers can be told
VALUE_MAX: Final = 1_000_000_000
FLAVOUR_MAX: Final = 32
LANES_MAX: Final = 64
LANE_NAME_MAX: Final = 128
CONFIG_MAX_BYTES: Final = 16 * 1024
STOP_REASONS: Final = frozenset({"Stopped", "Suspended", "Killed", "Replaced"})

_STAGES: Final = {
    engine_pb2.EngineStatus.STAGE_UNSPECIFIED: EngineStage.LOADING,
    engine_pb2.EngineStatus.LOADING: EngineStage.LOADING,
    engine_pb2.EngineStatus.READY: EngineStage.READY,
    engine_pb2.EngineStatus.RUNNING: EngineStage.RUNNING,
    engine_pb2.EngineStatus.STOPPING: EngineStage.STOPPING,
    engine_pb2.EngineStatus.ENDED: EngineStage.ENDED,
}
_ORDERS: Final = {
    RunOrder.READY: engine_pb2.READY_STATE,
    RunOrder.RUNNING: engine_pb2.RUNNING_STATE,
    RunOrder.STOPPED: engine_pb2.STOPPED_STATE,
}
_REFUSALS: Final = {
    RefusalCode.WRONG_RUN: coordination_pb2.Refused.WRONG_RUN,
    RefusalCode.FENCED: coordination_pb2.Refused.FENCED,
    RefusalCode.PROTOCOL: coordination_pb2.Refused.PROTOCOL,
    RefusalCode.RUN_OVER: coordination_pb2.Refused.RUN_OVER,
    RefusalCode.UNEXPECTED: coordination_pb2.Refused.UNEXPECTED,
}


def peer_from_message(message: coordination_pb2.Peer) -> Peer:
    """Return who an agent is; raise WireError if it does not say it fully."""
    if not (message.run_uid and message.attempt and message.boot):
        raise WireError("a peer names its run, its attempt (from 1) and its boot")
    who = (message.run_uid, message.worker, message.attempt, message.boot, message.pod[:256])
    return Peer(*who, message.started_ns, message.machine_boot[:64])


def hello_from_message(message: coordination_pb2.AgentMessage) -> Hello:
    """Return the first words of an agent; raise WireError if they are others."""
    if message.WhichOneof("kind") != "hello":
        raise WireError("the first message of a control stream is Hello")
    hello = message.hello
    if not 1 <= hello.engines <= ENGINES_MOST:
        raise WireError(f"an agent has 1 to {ENGINES_MOST} engines, not {hello.engines}")
    return Hello(
        peer=peer_from_message(hello.peer),
        protocol_major=hello.protocol_major,
        protocol_minor=hello.protocol_minor,
        script_digest=hello.script_digest,
        engines=hello.engines,
        highest_epoch=hello.highest_epoch,
        version=hello.version[:RELEASE_MAX],
    )


def word_from_message(message: coordination_pb2.AgentMessage) -> AgentWord:
    """Return what an agent says after its Hello.

    Raises:
        WireError: it says nothing that is known, or what it says cannot be meant.
    """
    match message.WhichOneof("kind"):
        case "heartbeat":
            return _heartbeat(message.heartbeat)
        case "engine_end":
            return engine_end_from_message(message.engine_end)
        case "bye":
            ends = tuple(engine_end_from_message(each) for each in message.bye.engines)
            return Bye(ends, message.bye.reason[:TEXT_MAX], _log_ends(message.bye))
        case "ping":
            return Ping(message.ping.sent_ns)
        case "inheritance":
            return inheritance_from_message(message.inheritance)
        case _:
            raise WireError("a message of an agent says nothing that is known here")


def engine_end_from_message(message: coordination_pb2.EngineEnd) -> EngineEnd:
    """Return how an engine ended; raise WireError if its stream, its signal or its counters cannot be meant."""
    if message.signal > SIGNAL_MAX:
        raise WireError(f"an engine ended by signal {message.signal}, which no system has")
    return EngineEnd(
        stream=stream_id_from_message(message.stream),
        is_clean=message.clean,
        counters=counters_from_message(message.counters) if message.counters_known else None,
        exit_code=message.exit_code,
        signal=message.signal,
        tail=message.tail[-TEXT_MAX:],
        is_out_of_memory=message.out_of_memory,
        final_sequence=message.final_sequence,
    )


def _log_ends(bye: coordination_pb2.Bye) -> tuple[LogEnd, ...]:
    if len(bye.logs) > LOGS_MAX:
        raise WireError(f"a worker's log has {len(bye.logs)} streams; at most {LOGS_MAX} are allowed")
    return tuple(map(_log_end, bye.logs))


def _log_end(message: coordination_pb2.LogEnd) -> LogEnd:
    if not (0 < len(message.boot) <= BOOT_MAX and message.start and message.fd in {1, 2}):
        raise WireError("a stream of a log names its launcher's boot, its engine's start (from 1) and output 1 or 2")
    if not message.ended:
        return LogEnd(boot=message.boot, engine=message.engine, start=message.start, fd=message.fd, has_ended=False)
    if message.lost_lines > message.lines or message.lost_bytes > message.bytes:
        raise WireError("more of a log was lost than written")
    if len(message.sha256) != DIGEST_BYTES:
        raise WireError("a stream of a log ended without its digest")
    return LogEnd(
        boot=message.boot,
        engine=message.engine,
        start=message.start,
        fd=message.fd,
        has_ended=True,
        lines=message.lines,
        size=message.bytes,
        lost_lines=message.lost_lines,
        lost_size=message.lost_bytes,
        digest=message.sha256,
    )


def steering_from_message(message: control_pb2.Steering) -> Steering:
    """Return what a follower wants; raise WireError without a revision, or with a reason that is not known."""
    if not message.revision:
        raise WireError("a steering's revision is counted from 1")
    if message.stop and message.stop_reason not in STOP_REASONS:
        raise WireError(f"a stop's reason is one of {', '.join(sorted(STOP_REASONS))}")
    if len(message.aims) > BLOCKS or any(not 0 < each.value <= VALUE_MAX for each in message.aims):
        raise WireError(f"a steering has at most {BLOCKS} aims, each at 1 to {VALUE_MAX}")
    if message.workers > REPLICAS_MOST:
        raise WireError(f"a run has at most {REPLICAS_MOST} workers")
    return Steering(
        revision=message.revision,
        stop_reason=message.stop_reason if message.stop else None,
        is_immediate=message.immediate,
        ended=tuple(
            WorkerEnd(each.worker, each.attempt, each.reason[:TEXT_MAX], each.message[:TEXT_MAX], each.exit_code)
            for each in message.ended
        ),
        is_paused=message.paused,
        aims=tuple(Aim(each.scenario, each.value, each.spawn_rate or None, is_rate=each.rate) for each in message.aims),
        config=_config(message),
        workers=message.workers,
        hopeless=message.hopeless[:TEXT_MAX],
        hopeless_reason=message.hopeless_reason,
    )


def _config(message: control_pb2.Steering) -> dict[str, str] | None:
    if not message.HasField("config"):
        return None
    values = dict(message.config.values)
    if sum(len(text.encode()) for pair in values.items() for text in pair) > CONFIG_MAX_BYTES:
        raise WireError(f"the values for a script have at most {CONFIG_MAX_BYTES} bytes")
    return values


def common_body(  # noqa: PLR0913 each is a field of one message
    run_order: RunOrder,
    scenarios: Iterable[Scenario],
    *,
    script_digest: str,
    start_at_ns: int,
    stop_reason: str,
    graceful_stop_ns: int,
    setup_json: bytes,
    warm_up_ns: int = 0,
    config: Mapping[str, str] | None = None,
    dropped: Iterable[str] = (),
    is_kill: bool = False,
    memory: bytes = b"",
) -> bytes:
    """Return the serialized body of a common configuration: what its digest is taken over."""
    body = coordination_pb2.CommonBody(
        run_state=_ORDERS[run_order],
        scenarios=map(scenario_to_message, scenarios),
        script_digest=script_digest,
        start_at_ns=start_at_ns,
        stop_reason=stop_reason,
        graceful_stop_ns=graceful_stop_ns,
        setup_json=setup_json,
        warm_up_ns=warm_up_ns,
        config=config or {},
        dropped=dropped,
        kill=is_kill,
        memory=memory,
    )
    return body.SerializeToString(deterministic=True)


def config_message(version: Version, body: bytes) -> coordination_pb2.MasterMessage:
    """Return a common configuration as it travels."""
    return coordination_pb2.MasterMessage(
        config=coordination_pb2.Config(version=_version(version), sha256=sha256(body).digest(), body=body)
    )


def assignment_message(  # noqa: PLR0913 each is a field of one message
    epoch: int,
    *,
    version: int,
    slot: int,
    slots: int,
    grants: Iterable[Grant],
    holding: int = 0,
    shares: Iterable[Share] = (),
) -> coordination_pb2.MasterMessage:
    """Return one worker's assignment as it travels."""
    return coordination_pb2.MasterMessage(
        assignment=coordination_pb2.Assignment(
            epoch=epoch,
            version=version,
            slot=slot,
            slots=slots,
            grants=grants_to_messages(grants),
            holding=holding,
            shares=shares_to_messages(shares),
        )
    )


def refused_message(refusal: Refusal) -> coordination_pb2.MasterMessage:
    """Return the answer to a Hello that is not taken in."""
    return coordination_pb2.MasterMessage(
        refused=coordination_pb2.Refused(code=_REFUSALS[refusal.code], detail=refusal.detail)
    )


def acknowledgement_message(number: int, epoch: int) -> coordination_pb2.MasterMessage:
    """Return the answer to a heartbeat."""
    return coordination_pb2.MasterMessage(ack=coordination_pb2.HeartbeatAck(number=number, epoch=epoch))


def pong_message(sent_ns: int, master_ns: int) -> coordination_pb2.MasterMessage:
    """Return the answer to a ping."""
    return coordination_pb2.MasterMessage(pong=coordination_pb2.Pong(sent_ns=sent_ns, master_ns=master_ns))


def leave_message(*, is_run_over: bool) -> coordination_pb2.MasterMessage:
    """Return the last word to an agent."""
    return coordination_pb2.MasterMessage(leave=coordination_pb2.Leave(run_over=is_run_over))


def _version(version: Version) -> coordination_pb2.Version:
    return coordination_pb2.Version(epoch=version.epoch, revision=version.revision)


def _heartbeat(message: coordination_pb2.Heartbeat) -> Heartbeat:
    if not message.number:
        raise WireError("heartbeats are counted from 1")
    if len(message.engines) > ENGINES_MOST:
        raise WireError(f"a heartbeat has {len(message.engines)} engines; at most {ENGINES_MOST} are allowed")
    if sum(each.status.users for each in message.engines) > USERS_MAX:
        raise WireError(f"a worker has at most {USERS_MAX} users")
    applied = None
    if message.applied.revision:
        applied = Version(message.applied.epoch, message.applied.revision)
        if len(message.applied_sha256) != DIGEST_BYTES:
            raise WireError("a heartbeat names a configuration without its digest")
    return Heartbeat(
        number=message.number,
        sent_ns=message.sent_ns,
        applied=applied,
        applied_digest=message.applied_sha256.hex(),
        assignment=message.assignment,
        engines=tuple(map(_engine_news, message.engines)),
        cpu_permille=message.cpu_permille,
        memory_bytes=message.memory_bytes,
        memory_limit_bytes=message.memory_limit_bytes,
        round_trip_ns=max(0, message.round_trip_ns),
        conflict=message.conflict_detail[:TEXT_MAX] if message.conflict else None,
        is_draining=message.draining,
        throttled_permille=min(1_000, message.throttled_permille),
        cgroup_bytes=message.cgroup_bytes,
        agent_memory_bytes=message.agent_memory_bytes,
        agent_lag_ns=max(0, message.agent_lag_ns),
        spool_bytes=message.spool_bytes,
        start_off_by_ns=max(0, message.start_off_by_ns),
    )


def lane_news(status: engine_pb2.EngineStatus) -> tuple[LaneNews, ...]:
    """Return how the lanes of a process are; raise WireError if that cannot be meant."""
    if len(status.lanes) > LANES_MAX:
        raise WireError(f"a process has {len(status.lanes)} lanes; at most {LANES_MAX} are allowed")
    if any(min(each.oldest_ns, each.duration_ns, each.longest_ns) < 0 for each in status.lanes):
        raise WireError("a lane reports a negative time")
    return tuple(
        LaneNews(
            each.name[:LANE_NAME_MAX],
            each.depth,
            each.running,
            each.oldest_ns,
            processed=each.processed,
            failed=each.failed,
            rejected=each.rejected,
            duration_ns=each.duration_ns,
            longest_ns=each.longest_ns,
        )
        for each in status.lanes
    )


def _engine_news(message: coordination_pb2.EngineSummary) -> EngineNews:
    status = message.status
    stage = _STAGES.get(status.stage)
    if stage is None:
        raise WireError(f"engine {message.engine} is at stage {status.stage}, which is not known here")
    if min(status.loop_lag_ns, status.schedule_slip_ns) < 0:
        raise WireError(f"engine {message.engine} reports a negative time")
    # Negative where the load is older than the machine of this master, which has taken it over.
    if abs(message.started_at_ns) >= MOMENT_MAX_NS:
        raise WireError(f"engine {message.engine} began at no moment that a clock can show")
    if len(status.grants) > GRANTS_MAX:
        raise WireError(f"engine {message.engine} has {len(status.grants)} grants; at most {GRANTS_MAX} are allowed")
    script = None
    if message.HasField("script"):
        told = message.script
        script = ScriptNews(
            told.ok, told.problem[:TEXT_MAX], told.traceback[-TEXT_MAX:], is_preflight=told.preflight_failed
        )
    return EngineNews(
        engine=message.engine,
        start=message.start,
        stage=stage,
        users=status.users,
        loop_lag_ns=status.loop_lag_ns,
        schedule_slip_ns=status.schedule_slip_ns,
        grants=tuple(map(grant_news, status.grants)),
        over=frozenset(status.over),
        script=script,
        started_at_ns=message.started_at_ns,
        exhausted=status.exhausted,
        stop_asked=status.stop_asked[:TEXT_MAX],
        flavour=status.flavour[:FLAVOUR_MAX],
        lanes=lane_news(status),
        holding=status.holding,
        leaving=status.leaving,
        memory_bytes=status.memory_bytes,
        cpu_permille=message.cpu_permille,
        series=status.series,
        queued_bytes=status.queued_bytes,
    )

"""Turn what masters and engines send an agent into checked values, and the agent's words into messages. No I/O here.

The other direction, the master's, is `loadstone_protocol.coordination`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from loadstone_core.register import Held, Version
from loadstone_protocol.allotment import (
    grants_from_messages,
    grants_to_messages,
    ranges_to_messages,
    shares_from_messages,
    shares_to_messages,
)
from loadstone_protocol.codec import MOMENT_MAX_NS, WireError, counters_to_message, stream_id_to_message
from loadstone_protocol.messages import EngineStage, RefusalCode, RunOrder
from loadstone_protocol.v1 import coordination_pb2, engine_pb2, statistics_pb2
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR
from loadstone_runner.agent.clock import RoundTrip
from loadstone_runner.agent.effects import Assignment, Common, Configure, EngineStatus
from loadstone_runner.agent.ledger import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadstone_core.load.lots import Share
    from loadstone_protocol.messages import EngineEnd, Granted, Peer
    from loadstone_runner.agent.ledger import Ledger
    from loadstone_runner.agent.logs import LogEnd

TAIL_MAX: Final = 4_096

_RUN_ORDERS: Final = {
    engine_pb2.READY_STATE: RunOrder.READY,
    engine_pb2.RUNNING_STATE: RunOrder.RUNNING,
    engine_pb2.STOPPED_STATE: RunOrder.STOPPED,
}
_RUN_STATES: Final = {order: state for state, order in _RUN_ORDERS.items()}
_STAGES: Final = {
    engine_pb2.EngineStatus.LOADING: EngineStage.LOADING,
    engine_pb2.EngineStatus.READY: EngineStage.READY,
    engine_pb2.EngineStatus.RUNNING: EngineStage.RUNNING,
    engine_pb2.EngineStatus.STOPPING: EngineStage.STOPPING,
    engine_pb2.EngineStatus.ENDED: EngineStage.ENDED,
}
_REFUSALS: Final = {
    coordination_pb2.Refused.WRONG_RUN: RefusalCode.WRONG_RUN,
    coordination_pb2.Refused.FENCED: RefusalCode.FENCED,
    coordination_pb2.Refused.PROTOCOL: RefusalCode.PROTOCOL,
    coordination_pb2.Refused.RUN_OVER: RefusalCode.RUN_OVER,
    coordination_pb2.Refused.UNEXPECTED: RefusalCode.UNEXPECTED,
}


def common_from_message(message: coordination_pb2.Config) -> Common:
    """Return a common configuration; raise WireError if its body is none or asks for what is not known here."""
    try:
        body = coordination_pb2.CommonBody.FromString(message.body)
    except DecodeError as error:
        raise WireError("the body of a configuration is none") from error
    run_order = _RUN_ORDERS.get(body.run_state)
    if run_order is None:
        raise WireError(f"a configuration asks for the run state {body.run_state}, which is not known here")
    # The start is negative where the load is older than the machine of a master that has taken it over.
    is_moment = abs(body.start_at_ns) < MOMENT_MAX_NS
    if body.graceful_stop_ns < 0 or not is_moment or (run_order is RunOrder.RUNNING and not body.start_at_ns):
        raise WireError("a configuration gives no negative time to stop, and Running has a start that a clock can show")
    return Common(
        held=Held(Version(message.version.epoch, message.version.revision), message.sha256.hex()),
        is_intact=sha256(message.body).digest() == message.sha256,
        run_order=run_order,
        script_digest=body.script_digest,
        start_at_ns=body.start_at_ns,
        stop_reason=body.stop_reason,
        graceful_stop_ns=body.graceful_stop_ns,
        body=message.body,
        is_kill=body.kill,
    )


def assignment_from_message(message: coordination_pb2.Assignment) -> Assignment:
    """Return a worker's assignment; raise WireError if its version, its slot or its grants cannot be meant."""
    if not message.version or message.slot >= message.slots:
        raise WireError("an assignment's version is counted from 1, and its slot is below the number of slots")
    return Assignment(
        epoch=message.epoch,
        version=message.version,
        slot=message.slot,
        slots=message.slots,
        grants=grants_from_messages(message.grants),
        holding=message.holding,
        shares=shares_from_messages(message.shares),
    )


def refusal_from_message(message: coordination_pb2.Refused) -> RefusalCode:
    """Return why a master does not take this agent in; a code of a later version is taken as UNEXPECTED."""
    return _REFUSALS.get(message.code, RefusalCode.UNEXPECTED)


def status_from_message(message: engine_pb2.EngineStatus) -> EngineStatus:
    """Return what an agent decides by; an engine that does not say how far it is, is loading."""
    return EngineStatus(
        stage=_STAGES.get(message.stage, EngineStage.LOADING),
        users=message.users,
        applied_revision=message.applied_revision,
        is_starving=any(each.waiting and not each.left for each in message.grants),
        leaving=message.leaving,
        start_at_ns=message.start_at_ns if abs(message.start_at_ns) < MOMENT_MAX_NS else 0,
    )


def piece_of(state: statistics_pb2.StreamState) -> Piece:
    """Take a state apart: histograms stay encoded. Raise WireError without a sequence, or with an impossible start."""
    if not state.sequence:
        raise WireError("a stream's states are counted from 1")
    # Negative where this machine is younger than the load.
    if abs(state.first_start_ns) >= MOMENT_MAX_NS:
        raise WireError("a load begins at no such moment")
    series = {
        each.key.SerializeToString(deterministic=True): statistics_pb2.StreamState(series=[each]).SerializeToString()
        for each in state.series
    }
    head = statistics_pb2.StreamState(
        stream=state.stream,
        sequence=state.sequence,
        second=state.second,
        counters=state.counters,
        errors=state.errors,
        users=state.users,
        final=state.final,
        first_start_ns=state.first_start_ns,
        scenario_users=state.scenario_users,
    )
    return Piece(state.sequence, head.SerializeToString(), series, state.second, tuple(state.scenario_users))


def whole_state(ledger: Ledger) -> coordination_pb2.StatisticsFrame:
    """Return the frame of a whole state as the ledger has it."""
    state = statistics_pb2.StreamState.FromString(ledger.whole())
    state.full = True
    for second, sequence, users in ledger.history.moments:
        state.history.add(second=second, sequence=sequence, scenario_users=users)
    return coordination_pb2.StatisticsFrame(state=state)


def peer_message(peer: Peer) -> coordination_pb2.Peer:
    """Return the message of who this agent is."""
    return coordination_pb2.Peer(
        run_uid=peer.run_uid,
        worker=peer.worker,
        attempt=peer.attempt,
        boot=peer.boot,
        pod=peer.pod,
        started_ns=peer.started_ns,
        machine_boot=peer.machine_boot,
    )


def hello_message(
    peer: Peer, *, version: str, script_digest: str, engines: int, applied: Held | None, highest_epoch: int
) -> coordination_pb2.AgentMessage:
    """Return the first words on a control stream."""
    return coordination_pb2.AgentMessage(
        hello=coordination_pb2.Hello(
            peer=peer_message(peer),
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=PROTOCOL_MINOR,
            version=version,
            script_digest=script_digest,
            engines=engines,
            applied=version_message(applied),
            highest_epoch=highest_epoch,
        )
    )


def inheritance_message(
    common: Common | None, since_start_ns: int, granted: Iterable[Granted], shares: Iterable[Share]
) -> coordination_pb2.AgentMessage:
    """Return what is held of the master before."""
    config = None
    if common is not None:
        digest = bytes.fromhex(common.held.digest)
        config = coordination_pb2.Config(version=version_message(common.held), sha256=digest, body=common.body)
    return coordination_pb2.AgentMessage(
        inheritance=coordination_pb2.Inheritance(
            config=config,
            since_start_ns=since_start_ns,
            granted=[
                coordination_pb2.Granted(**{**each._asdict(), "latest": ranges_to_messages(each.latest)})
                for each in granted
            ],
            shares=shares_to_messages(shares),
        )
    )


def version_message(held: Held | None) -> coordination_pb2.Version | None:
    """Return the version of a configuration, None for none."""
    if held is None:
        return None
    return coordination_pb2.Version(epoch=held.version.epoch, revision=held.version.revision)


def end_message(end: EngineEnd) -> coordination_pb2.EngineEnd:
    """Return how an engine ended."""
    return coordination_pb2.EngineEnd(
        stream=stream_id_to_message(end.stream),
        clean=end.is_clean,
        counters_known=end.counters is not None,
        counters=counters_to_message(end.counters) if end.counters is not None else None,
        exit_code=end.exit_code,
        signal=end.signal,
        tail=end.tail[-TAIL_MAX:],
        out_of_memory=end.is_out_of_memory,
        final_sequence=end.final_sequence,
    )


def bye_message(ends: Iterable[EngineEnd], reason: str, logs: Iterable[LogEnd] = ()) -> coordination_pb2.AgentMessage:
    """Return the last words."""
    bye = coordination_pb2.Bye(
        engines=[end_message(end) for end in ends], reason=reason, logs=[log_end_message(end) for end in logs]
    )
    return coordination_pb2.AgentMessage(bye=bye)


def log_end_message(end: LogEnd) -> coordination_pb2.LogEnd:
    """Return how much was written to a stream of the log."""
    message = coordination_pb2.LogEnd(
        boot=end.boot, engine=end.stream.engine, start=end.stream.start, fd=end.stream.fd, ended=end.tally is not None
    )
    if end.tally is not None:
        message.lines, message.bytes = end.tally.lines, end.tally.size
        message.lost_lines, message.lost_bytes = end.tally.lost_lines, end.tally.lost_size
        message.sha256 = end.tally.digest
    return message


def trip_from_message(message: coordination_pb2.Pong, *, received_ns: int) -> RoundTrip:
    """Return a round trip to the master; raise WireError if its clock or this one cannot show such moments."""
    if not (0 <= message.sent_ns <= received_ns and 0 <= message.master_ns < MOMENT_MAX_NS):
        raise WireError("a pong's moments are those of two clocks, the earlier one before now")
    return RoundTrip(message.sent_ns, message.master_ns, received_ns)


def ping_message(sent_ns: int) -> coordination_pb2.AgentMessage:
    """Return a question for the master's clock."""
    return coordination_pb2.AgentMessage(ping=coordination_pb2.Ping(sent_ns=sent_ns))


def config_message(told: Configure, *, worker: int, attempt: int) -> engine_pb2.ToEngine:
    """Return what an engine is told: the load and what setup returned go through as they came."""
    body = coordination_pb2.CommonBody.FromString(told.body)
    return engine_pb2.ToEngine(
        config=engine_pb2.EngineConfig(
            revision=told.revision,
            run_state=_RUN_STATES[told.run_order],
            start_at_ns=told.start_at_ns,
            slot=told.slot,
            slots=told.slots,
            scenarios=body.scenarios,
            grants=grants_to_messages(told.grants),
            stop_reason=told.stop_reason,
            graceful_stop_ns=told.graceful_stop_ns,
            setup_json=body.setup_json,
            warm_up_ns=body.warm_up_ns,
            config=body.config,
            dropped=body.dropped,
            worker=worker,
            attempt=attempt,
            holding=told.holding,
            shares=shares_to_messages(told.shares),
        )
    )


def kept_message(number: int, *, is_lost: bool) -> engine_pb2.ToEngine:
    """Return what became of the lines before a mark."""
    return engine_pb2.ToEngine(log_kept=engine_pb2.LogKept(number=number, lost=is_lost))


def received_message(sequence: int) -> engine_pb2.ToEngine:
    """Return the answer to a state: the agent holds it."""
    return engine_pb2.ToEngine(ack=engine_pb2.StateAck(received=sequence))

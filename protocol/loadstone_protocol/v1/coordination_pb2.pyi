from loadstone_protocol.v1 import engine_pb2 as _engine_pb2
from loadstone_protocol.v1 import statistics_pb2 as _statistics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Version(_message.Message):
    __slots__ = ("epoch", "revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    revision: int
    def __init__(self, epoch: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("run_uid", "worker", "attempt", "boot", "pod", "started_ns", "machine_boot")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    MACHINE_BOOT_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    worker: int
    attempt: int
    boot: str
    pod: str
    started_ns: int
    machine_boot: str
    def __init__(self, run_uid: _Optional[str] = ..., worker: _Optional[int] = ..., attempt: _Optional[int] = ..., boot: _Optional[str] = ..., pod: _Optional[str] = ..., started_ns: _Optional[int] = ..., machine_boot: _Optional[str] = ...) -> None: ...

class AgentMessage(_message.Message):
    __slots__ = ("hello", "heartbeat", "engine_end", "bye", "ping", "inheritance")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_END_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    INHERITANCE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    engine_end: EngineEnd
    bye: Bye
    ping: Ping
    inheritance: Inheritance
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., engine_end: _Optional[_Union[EngineEnd, _Mapping]] = ..., bye: _Optional[_Union[Bye, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., inheritance: _Optional[_Union[Inheritance, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("peer", "protocol_major", "protocol_minor", "version", "script_digest", "engines", "applied", "highest_epoch")
    PEER_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_EPOCH_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    protocol_major: int
    protocol_minor: int
    version: str
    script_digest: str
    engines: int
    applied: Version
    highest_epoch: int
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., version: _Optional[str] = ..., script_digest: _Optional[str] = ..., engines: _Optional[int] = ..., applied: _Optional[_Union[Version, _Mapping]] = ..., highest_epoch: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("number", "sent_ns", "applied", "applied_sha256", "assignment", "engines", "cpu_permille", "memory_bytes", "memory_limit_bytes", "clock_offset_ns", "round_trip_ns", "conflict", "conflict_detail", "draining", "start_off_by_ns", "throttled_permille", "cgroup_bytes", "agent_memory_bytes", "agent_lag_ns", "spool_bytes")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SHA256_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    CPU_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_NS_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_DETAIL_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    START_OFF_BY_NS_FIELD_NUMBER: _ClassVar[int]
    THROTTLED_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    CGROUP_BYTES_FIELD_NUMBER: _ClassVar[int]
    AGENT_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    AGENT_LAG_NS_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    number: int
    sent_ns: int
    applied: Version
    applied_sha256: bytes
    assignment: int
    engines: _containers.RepeatedCompositeFieldContainer[EngineSummary]
    cpu_permille: int
    memory_bytes: int
    memory_limit_bytes: int
    clock_offset_ns: int
    round_trip_ns: int
    conflict: bool
    conflict_detail: str
    draining: bool
    start_off_by_ns: int
    throttled_permille: int
    cgroup_bytes: int
    agent_memory_bytes: int
    agent_lag_ns: int
    spool_bytes: int
    def __init__(self, number: _Optional[int] = ..., sent_ns: _Optional[int] = ..., applied: _Optional[_Union[Version, _Mapping]] = ..., applied_sha256: _Optional[bytes] = ..., assignment: _Optional[int] = ..., engines: _Optional[_Iterable[_Union[EngineSummary, _Mapping]]] = ..., cpu_permille: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., memory_limit_bytes: _Optional[int] = ..., clock_offset_ns: _Optional[int] = ..., round_trip_ns: _Optional[int] = ..., conflict: _Optional[bool] = ..., conflict_detail: _Optional[str] = ..., draining: _Optional[bool] = ..., start_off_by_ns: _Optional[int] = ..., throttled_permille: _Optional[int] = ..., cgroup_bytes: _Optional[int] = ..., agent_memory_bytes: _Optional[int] = ..., agent_lag_ns: _Optional[int] = ..., spool_bytes: _Optional[int] = ...) -> None: ...

class EngineSummary(_message.Message):
    __slots__ = ("engine", "start", "status", "script", "started_at_ns", "cpu_permille")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    CPU_PERMILLE_FIELD_NUMBER: _ClassVar[int]
    engine: int
    start: int
    status: _engine_pb2.EngineStatus
    script: _engine_pb2.ScriptReport
    started_at_ns: int
    cpu_permille: int
    def __init__(self, engine: _Optional[int] = ..., start: _Optional[int] = ..., status: _Optional[_Union[_engine_pb2.EngineStatus, _Mapping]] = ..., script: _Optional[_Union[_engine_pb2.ScriptReport, _Mapping]] = ..., started_at_ns: _Optional[int] = ..., cpu_permille: _Optional[int] = ...) -> None: ...

class EngineEnd(_message.Message):
    __slots__ = ("stream", "clean", "counters_known", "counters", "exit_code", "signal", "tail", "out_of_memory", "final_sequence")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_KNOWN_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_MEMORY_FIELD_NUMBER: _ClassVar[int]
    FINAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    stream: _statistics_pb2.StreamId
    clean: bool
    counters_known: bool
    counters: _statistics_pb2.Counters
    exit_code: int
    signal: int
    tail: str
    out_of_memory: bool
    final_sequence: int
    def __init__(self, stream: _Optional[_Union[_statistics_pb2.StreamId, _Mapping]] = ..., clean: _Optional[bool] = ..., counters_known: _Optional[bool] = ..., counters: _Optional[_Union[_statistics_pb2.Counters, _Mapping]] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., tail: _Optional[str] = ..., out_of_memory: _Optional[bool] = ..., final_sequence: _Optional[int] = ...) -> None: ...

class Bye(_message.Message):
    __slots__ = ("engines", "reason", "logs")
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    engines: _containers.RepeatedCompositeFieldContainer[EngineEnd]
    reason: str
    logs: _containers.RepeatedCompositeFieldContainer[LogEnd]
    def __init__(self, engines: _Optional[_Iterable[_Union[EngineEnd, _Mapping]]] = ..., reason: _Optional[str] = ..., logs: _Optional[_Iterable[_Union[LogEnd, _Mapping]]] = ...) -> None: ...

class LogEnd(_message.Message):
    __slots__ = ("boot", "engine", "start", "fd", "ended", "lines", "bytes", "lost_lines", "lost_bytes", "sha256")
    BOOT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FD_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LOST_LINES_FIELD_NUMBER: _ClassVar[int]
    LOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    boot: str
    engine: int
    start: int
    fd: int
    ended: bool
    lines: int
    bytes: int
    lost_lines: int
    lost_bytes: int
    sha256: bytes
    def __init__(self, boot: _Optional[str] = ..., engine: _Optional[int] = ..., start: _Optional[int] = ..., fd: _Optional[int] = ..., ended: _Optional[bool] = ..., lines: _Optional[int] = ..., bytes: _Optional[int] = ..., lost_lines: _Optional[int] = ..., lost_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("sent_ns",)
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    def __init__(self, sent_ns: _Optional[int] = ...) -> None: ...

class MasterMessage(_message.Message):
    __slots__ = ("welcome", "refused", "ack", "config", "assignment", "pong", "leave")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    refused: Refused
    ack: HeartbeatAck
    config: Config
    assignment: Assignment
    pong: Pong
    leave: Leave
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., ack: _Optional[_Union[HeartbeatAck, _Mapping]] = ..., config: _Optional[_Union[Config, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("epoch", "lease_ns", "wants_inheritance")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEASE_NS_FIELD_NUMBER: _ClassVar[int]
    WANTS_INHERITANCE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    lease_ns: int
    wants_inheritance: bool
    def __init__(self, epoch: _Optional[int] = ..., lease_ns: _Optional[int] = ..., wants_inheritance: _Optional[bool] = ...) -> None: ...

class Inheritance(_message.Message):
    __slots__ = ("config", "since_start_ns", "granted", "shares")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SINCE_START_NS_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    config: Config
    since_start_ns: int
    granted: _containers.RepeatedCompositeFieldContainer[Granted]
    shares: _containers.RepeatedCompositeFieldContainer[_engine_pb2.Share]
    def __init__(self, config: _Optional[_Union[Config, _Mapping]] = ..., since_start_ns: _Optional[int] = ..., granted: _Optional[_Iterable[_Union[Granted, _Mapping]]] = ..., shares: _Optional[_Iterable[_Union[_engine_pb2.Share, _Mapping]]] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("name", "engine", "ranges", "numbers", "end", "latest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    engine: int
    ranges: int
    numbers: int
    end: int
    latest: _containers.RepeatedCompositeFieldContainer[_engine_pb2.IterationRange]
    def __init__(self, name: _Optional[str] = ..., engine: _Optional[int] = ..., ranges: _Optional[int] = ..., numbers: _Optional[int] = ..., end: _Optional[int] = ..., latest: _Optional[_Iterable[_Union[_engine_pb2.IterationRange, _Mapping]]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("code", "detail")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[Refused.Code]
        WRONG_RUN: _ClassVar[Refused.Code]
        FENCED: _ClassVar[Refused.Code]
        PROTOCOL: _ClassVar[Refused.Code]
        RUN_OVER: _ClassVar[Refused.Code]
        UNEXPECTED: _ClassVar[Refused.Code]
    CODE_UNSPECIFIED: Refused.Code
    WRONG_RUN: Refused.Code
    FENCED: Refused.Code
    PROTOCOL: Refused.Code
    RUN_OVER: Refused.Code
    UNEXPECTED: Refused.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    code: Refused.Code
    detail: str
    def __init__(self, code: _Optional[_Union[Refused.Code, str]] = ..., detail: _Optional[str] = ...) -> None: ...

class HeartbeatAck(_message.Message):
    __slots__ = ("number", "epoch")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    number: int
    epoch: int
    def __init__(self, number: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Config(_message.Message):
    __slots__ = ("version", "sha256", "body")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    version: Version
    sha256: bytes
    body: bytes
    def __init__(self, version: _Optional[_Union[Version, _Mapping]] = ..., sha256: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class CommonBody(_message.Message):
    __slots__ = ("run_state", "script_digest", "start_at_ns", "stop_reason", "graceful_stop_ns", "setup_json", "scenarios", "warm_up_ns", "config", "dropped", "kill", "memory")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RUN_STATE_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    START_AT_NS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_STOP_NS_FIELD_NUMBER: _ClassVar[int]
    SETUP_JSON_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_NS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    run_state: _engine_pb2.RunState
    script_digest: str
    start_at_ns: int
    stop_reason: str
    graceful_stop_ns: int
    setup_json: bytes
    scenarios: _containers.RepeatedCompositeFieldContainer[_engine_pb2.LoadPlan]
    warm_up_ns: int
    config: _containers.ScalarMap[str, str]
    dropped: _containers.RepeatedScalarFieldContainer[str]
    kill: bool
    memory: bytes
    def __init__(self, run_state: _Optional[_Union[_engine_pb2.RunState, str]] = ..., script_digest: _Optional[str] = ..., start_at_ns: _Optional[int] = ..., stop_reason: _Optional[str] = ..., graceful_stop_ns: _Optional[int] = ..., setup_json: _Optional[bytes] = ..., scenarios: _Optional[_Iterable[_Union[_engine_pb2.LoadPlan, _Mapping]]] = ..., warm_up_ns: _Optional[int] = ..., config: _Optional[_Mapping[str, str]] = ..., dropped: _Optional[_Iterable[str]] = ..., kill: _Optional[bool] = ..., memory: _Optional[bytes] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("epoch", "version", "slot", "slots", "grants", "holding", "shares")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    version: int
    slot: int
    slots: int
    grants: _containers.RepeatedCompositeFieldContainer[_engine_pb2.Grant]
    holding: int
    shares: _containers.RepeatedCompositeFieldContainer[_engine_pb2.Share]
    def __init__(self, epoch: _Optional[int] = ..., version: _Optional[int] = ..., slot: _Optional[int] = ..., slots: _Optional[int] = ..., grants: _Optional[_Iterable[_Union[_engine_pb2.Grant, _Mapping]]] = ..., holding: _Optional[int] = ..., shares: _Optional[_Iterable[_Union[_engine_pb2.Share, _Mapping]]] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("sent_ns", "master_ns")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    MASTER_NS_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    master_ns: int
    def __init__(self, sent_ns: _Optional[int] = ..., master_ns: _Optional[int] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("run_over",)
    RUN_OVER_FIELD_NUMBER: _ClassVar[int]
    run_over: bool
    def __init__(self, run_over: _Optional[bool] = ...) -> None: ...

class StatisticsFrame(_message.Message):
    __slots__ = ("peer", "state")
    PEER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    state: _statistics_pb2.StreamState
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ..., state: _Optional[_Union[_statistics_pb2.StreamState, _Mapping]] = ...) -> None: ...

class PackedStatisticsFrame(_message.Message):
    __slots__ = ("peer", "state")
    PEER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    state: _statistics_pb2.PackedStreamState
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ..., state: _Optional[_Union[_statistics_pb2.PackedStreamState, _Mapping]] = ...) -> None: ...

class StatisticsAck(_message.Message):
    __slots__ = ("stream", "received", "durable", "want_full")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    WANT_FULL_FIELD_NUMBER: _ClassVar[int]
    stream: _statistics_pb2.StreamId
    received: int
    durable: int
    want_full: bool
    def __init__(self, stream: _Optional[_Union[_statistics_pb2.StreamId, _Mapping]] = ..., received: _Optional[int] = ..., durable: _Optional[int] = ..., want_full: _Optional[bool] = ...) -> None: ...

class BulkFrame(_message.Message):
    __slots__ = ("peer", "batch", "receipt", "messages")
    PEER_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    peer: Peer
    batch: OutboxBatch
    receipt: OutboxReceipt
    messages: _engine_pb2.MessageFrame
    def __init__(self, peer: _Optional[_Union[Peer, _Mapping]] = ..., batch: _Optional[_Union[OutboxBatch, _Mapping]] = ..., receipt: _Optional[_Union[OutboxReceipt, _Mapping]] = ..., messages: _Optional[_Union[_engine_pb2.MessageFrame, _Mapping]] = ...) -> None: ...

class OutboxBatch(_message.Message):
    __slots__ = ("channel", "first", "oldest", "entries")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    channel: str
    first: int
    oldest: int
    entries: _containers.RepeatedCompositeFieldContainer[OutboxEntry]
    def __init__(self, channel: _Optional[str] = ..., first: _Optional[int] = ..., oldest: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[OutboxEntry, _Mapping]]] = ...) -> None: ...

class OutboxEntry(_message.Message):
    __slots__ = ("payload", "lost", "lost_bytes")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    LOST_BYTES_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    lost: int
    lost_bytes: int
    def __init__(self, payload: _Optional[bytes] = ..., lost: _Optional[int] = ..., lost_bytes: _Optional[int] = ...) -> None: ...

class OutboxReceipt(_message.Message):
    __slots__ = ("channel", "received", "durable", "resend")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    channel: str
    received: int
    durable: int
    resend: bool
    def __init__(self, channel: _Optional[str] = ..., received: _Optional[int] = ..., durable: _Optional[int] = ..., resend: _Optional[bool] = ...) -> None: ...

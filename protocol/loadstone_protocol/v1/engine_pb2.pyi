from loadstone_protocol.v1 import statistics_pb2 as _statistics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EngineRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENGINE_ROLE_UNSPECIFIED: _ClassVar[EngineRole]
    ENGINE_ROLE_ENGINE: _ClassVar[EngineRole]
    ENGINE_ROLE_DIRECTOR: _ClassVar[EngineRole]

class RunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STATE_UNSPECIFIED: _ClassVar[RunState]
    READY_STATE: _ClassVar[RunState]
    RUNNING_STATE: _ClassVar[RunState]
    STOPPED_STATE: _ClassVar[RunState]

class LoadModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOAD_MODEL_UNSPECIFIED: _ClassVar[LoadModel]
    USERS: _ClassVar[LoadModel]
    RATE: _ClassVar[LoadModel]
    ITERATIONS: _ClassVar[LoadModel]
ENGINE_ROLE_UNSPECIFIED: EngineRole
ENGINE_ROLE_ENGINE: EngineRole
ENGINE_ROLE_DIRECTOR: EngineRole
RUN_STATE_UNSPECIFIED: RunState
READY_STATE: RunState
RUNNING_STATE: RunState
STOPPED_STATE: RunState
LOAD_MODEL_UNSPECIFIED: LoadModel
USERS: LoadModel
RATE: LoadModel
ITERATIONS: LoadModel

class EngineMessage(_message.Message):
    __slots__ = ("hello", "script", "status", "state", "setup", "messages")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SETUP_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    hello: EngineHello
    script: ScriptReport
    status: EngineStatus
    state: _statistics_pb2.StreamState
    setup: SetupReport
    messages: MessageFrame
    def __init__(self, hello: _Optional[_Union[EngineHello, _Mapping]] = ..., script: _Optional[_Union[ScriptReport, _Mapping]] = ..., status: _Optional[_Union[EngineStatus, _Mapping]] = ..., state: _Optional[_Union[_statistics_pb2.StreamState, _Mapping]] = ..., setup: _Optional[_Union[SetupReport, _Mapping]] = ..., messages: _Optional[_Union[MessageFrame, _Mapping]] = ...) -> None: ...

class EngineHello(_message.Message):
    __slots__ = ("role", "engine", "start", "pid", "counters_path", "protocol_major", "protocol_minor", "version")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_PATH_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    role: EngineRole
    engine: int
    start: int
    pid: int
    counters_path: str
    protocol_major: int
    protocol_minor: int
    version: str
    def __init__(self, role: _Optional[_Union[EngineRole, str]] = ..., engine: _Optional[int] = ..., start: _Optional[int] = ..., pid: _Optional[int] = ..., counters_path: _Optional[str] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class ScriptReport(_message.Message):
    __slots__ = ("ok", "problem", "traceback", "user_classes", "preflight_failed", "has_shape", "handles_messages")
    OK_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    USER_CLASSES_FIELD_NUMBER: _ClassVar[int]
    PREFLIGHT_FAILED_FIELD_NUMBER: _ClassVar[int]
    HAS_SHAPE_FIELD_NUMBER: _ClassVar[int]
    HANDLES_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    problem: str
    traceback: str
    user_classes: _containers.RepeatedScalarFieldContainer[str]
    preflight_failed: bool
    has_shape: bool
    handles_messages: bool
    def __init__(self, ok: _Optional[bool] = ..., problem: _Optional[str] = ..., traceback: _Optional[str] = ..., user_classes: _Optional[_Iterable[str]] = ..., preflight_failed: _Optional[bool] = ..., has_shape: _Optional[bool] = ..., handles_messages: _Optional[bool] = ...) -> None: ...

class EngineStatus(_message.Message):
    __slots__ = ("stage", "users", "applied_revision", "loop_lag_ns", "schedule_slip_ns", "memory_bytes", "grants", "over", "stop_asked", "errors", "shape", "flavour", "exhausted", "lanes", "holding", "leaving", "start_at_ns", "series", "queued_bytes")
    class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STAGE_UNSPECIFIED: _ClassVar[EngineStatus.Stage]
        LOADING: _ClassVar[EngineStatus.Stage]
        READY: _ClassVar[EngineStatus.Stage]
        RUNNING: _ClassVar[EngineStatus.Stage]
        STOPPING: _ClassVar[EngineStatus.Stage]
        ENDED: _ClassVar[EngineStatus.Stage]
    STAGE_UNSPECIFIED: EngineStatus.Stage
    LOADING: EngineStatus.Stage
    READY: EngineStatus.Stage
    RUNNING: EngineStatus.Stage
    STOPPING: EngineStatus.Stage
    ENDED: EngineStatus.Stage
    STAGE_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_REVISION_FIELD_NUMBER: _ClassVar[int]
    LOOP_LAG_NS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_SLIP_NS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    STOP_ASKED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FLAVOUR_FIELD_NUMBER: _ClassVar[int]
    EXHAUSTED_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    START_AT_NS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    QUEUED_BYTES_FIELD_NUMBER: _ClassVar[int]
    stage: EngineStatus.Stage
    users: int
    applied_revision: int
    loop_lag_ns: int
    schedule_slip_ns: int
    memory_bytes: int
    grants: _containers.RepeatedCompositeFieldContainer[GrantState]
    over: _containers.RepeatedScalarFieldContainer[int]
    stop_asked: str
    errors: _containers.RepeatedCompositeFieldContainer[_statistics_pb2.ErrorCount]
    shape: ShapeState
    flavour: str
    exhausted: int
    lanes: _containers.RepeatedCompositeFieldContainer[LaneState]
    holding: int
    leaving: int
    start_at_ns: int
    series: int
    queued_bytes: int
    def __init__(self, stage: _Optional[_Union[EngineStatus.Stage, str]] = ..., users: _Optional[int] = ..., applied_revision: _Optional[int] = ..., loop_lag_ns: _Optional[int] = ..., schedule_slip_ns: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., grants: _Optional[_Iterable[_Union[GrantState, _Mapping]]] = ..., over: _Optional[_Iterable[int]] = ..., stop_asked: _Optional[str] = ..., errors: _Optional[_Iterable[_Union[_statistics_pb2.ErrorCount, _Mapping]]] = ..., shape: _Optional[_Union[ShapeState, _Mapping]] = ..., flavour: _Optional[str] = ..., exhausted: _Optional[int] = ..., lanes: _Optional[_Iterable[_Union[LaneState, _Mapping]]] = ..., holding: _Optional[int] = ..., leaving: _Optional[int] = ..., start_at_ns: _Optional[int] = ..., series: _Optional[int] = ..., queued_bytes: _Optional[int] = ...) -> None: ...

class ShapeState(_message.Message):
    __slots__ = ("users", "spawn_rate", "over", "failed")
    USERS_FIELD_NUMBER: _ClassVar[int]
    SPAWN_RATE_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    users: int
    spawn_rate: int
    over: bool
    failed: str
    def __init__(self, users: _Optional[int] = ..., spawn_rate: _Optional[int] = ..., over: _Optional[bool] = ..., failed: _Optional[str] = ...) -> None: ...

class GrantState(_message.Message):
    __slots__ = ("name", "known", "left", "per_second", "waiting", "rows")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    known: int
    left: int
    per_second: int
    waiting: int
    rows: int
    def __init__(self, name: _Optional[str] = ..., known: _Optional[int] = ..., left: _Optional[int] = ..., per_second: _Optional[int] = ..., waiting: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class SetupReport(_message.Message):
    __slots__ = ("teardown", "ok", "problem", "traceback", "result_json", "requests")
    TEARDOWN_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    teardown: bool
    ok: bool
    problem: str
    traceback: str
    result_json: bytes
    requests: int
    def __init__(self, teardown: _Optional[bool] = ..., ok: _Optional[bool] = ..., problem: _Optional[str] = ..., traceback: _Optional[str] = ..., result_json: _Optional[bytes] = ..., requests: _Optional[int] = ...) -> None: ...

class ToEngine(_message.Message):
    __slots__ = ("config", "ack", "setup", "summary", "event", "messages", "log_kept", "refused")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    SETUP_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    LOG_KEPT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    config: EngineConfig
    ack: StateAck
    setup: SetupRequest
    summary: Summary
    event: RunEvent
    messages: MessageFrame
    log_kept: LogKept
    refused: EngineRefused
    def __init__(self, config: _Optional[_Union[EngineConfig, _Mapping]] = ..., ack: _Optional[_Union[StateAck, _Mapping]] = ..., setup: _Optional[_Union[SetupRequest, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., event: _Optional[_Union[RunEvent, _Mapping]] = ..., messages: _Optional[_Union[MessageFrame, _Mapping]] = ..., log_kept: _Optional[_Union[LogKept, _Mapping]] = ..., refused: _Optional[_Union[EngineRefused, _Mapping]] = ...) -> None: ...

class EngineRefused(_message.Message):
    __slots__ = ("detail",)
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    detail: str
    def __init__(self, detail: _Optional[str] = ...) -> None: ...

class LogKept(_message.Message):
    __slots__ = ("number", "lost")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    number: int
    lost: bool
    def __init__(self, number: _Optional[int] = ..., lost: _Optional[bool] = ...) -> None: ...

class EngineConfig(_message.Message):
    __slots__ = ("revision", "run_state", "start_at_ns", "slot", "slots", "stop_reason", "graceful_stop_ns", "setup_json", "worker", "attempt", "scenarios", "grants", "warm_up_ns", "config", "dropped", "shaped", "holding", "shares")
    class ConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RUN_STATE_FIELD_NUMBER: _ClassVar[int]
    START_AT_NS_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_STOP_NS_FIELD_NUMBER: _ClassVar[int]
    SETUP_JSON_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_NS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    SHAPED_FIELD_NUMBER: _ClassVar[int]
    HOLDING_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    revision: int
    run_state: RunState
    start_at_ns: int
    slot: int
    slots: int
    stop_reason: str
    graceful_stop_ns: int
    setup_json: bytes
    worker: int
    attempt: int
    scenarios: _containers.RepeatedCompositeFieldContainer[LoadPlan]
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    warm_up_ns: int
    config: _containers.ScalarMap[str, str]
    dropped: _containers.RepeatedScalarFieldContainer[str]
    shaped: bool
    holding: int
    shares: _containers.RepeatedCompositeFieldContainer[Share]
    def __init__(self, revision: _Optional[int] = ..., run_state: _Optional[_Union[RunState, str]] = ..., start_at_ns: _Optional[int] = ..., slot: _Optional[int] = ..., slots: _Optional[int] = ..., stop_reason: _Optional[str] = ..., graceful_stop_ns: _Optional[int] = ..., setup_json: _Optional[bytes] = ..., worker: _Optional[int] = ..., attempt: _Optional[int] = ..., scenarios: _Optional[_Iterable[_Union[LoadPlan, _Mapping]]] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., warm_up_ns: _Optional[int] = ..., config: _Optional[_Mapping[str, str]] = ..., dropped: _Optional[_Iterable[str]] = ..., shaped: _Optional[bool] = ..., holding: _Optional[int] = ..., shares: _Optional[_Iterable[_Union[Share, _Mapping]]] = ...) -> None: ...

class StateAck(_message.Message):
    __slots__ = ("received",)
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    received: int
    def __init__(self, received: _Optional[int] = ...) -> None: ...

class SetupRequest(_message.Message):
    __slots__ = ("teardown",)
    TEARDOWN_FIELD_NUMBER: _ClassVar[int]
    teardown: bool
    def __init__(self, teardown: _Optional[bool] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: bytes
    def __init__(self, json: _Optional[bytes] = ...) -> None: ...

class RunEvent(_message.Message):
    __slots__ = ("kind", "worker", "message")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_OF_EVENT_UNSPECIFIED: _ClassVar[RunEvent.Kind]
        TEST_START: _ClassVar[RunEvent.Kind]
        SPAWNING_COMPLETE: _ClassVar[RunEvent.Kind]
        WORKER_LOST: _ClassVar[RunEvent.Kind]
        TEST_STOP: _ClassVar[RunEvent.Kind]
    KIND_OF_EVENT_UNSPECIFIED: RunEvent.Kind
    TEST_START: RunEvent.Kind
    SPAWNING_COMPLETE: RunEvent.Kind
    WORKER_LOST: RunEvent.Kind
    TEST_STOP: RunEvent.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: RunEvent.Kind
    worker: int
    message: str
    def __init__(self, kind: _Optional[_Union[RunEvent.Kind, str]] = ..., worker: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class IterationRange(_message.Message):
    __slots__ = ("start", "count")
    START_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    start: int
    count: int
    def __init__(self, start: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("name", "engine", "first_range", "ranges", "before", "end")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    FIRST_RANGE_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    name: str
    engine: int
    first_range: int
    ranges: _containers.RepeatedCompositeFieldContainer[IterationRange]
    before: int
    end: int
    def __init__(self, name: _Optional[str] = ..., engine: _Optional[int] = ..., first_range: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[IterationRange, _Mapping]]] = ..., before: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Share(_message.Message):
    __slots__ = ("engine", "index", "parts", "from_ns")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    FROM_NS_FIELD_NUMBER: _ClassVar[int]
    engine: int
    index: int
    parts: int
    from_ns: int
    def __init__(self, engine: _Optional[int] = ..., index: _Optional[int] = ..., parts: _Optional[int] = ..., from_ns: _Optional[int] = ...) -> None: ...

class Segment(_message.Message):
    __slots__ = ("start_ns", "duration_ns", "from_value", "to_value")
    START_NS_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    FROM_VALUE_FIELD_NUMBER: _ClassVar[int]
    TO_VALUE_FIELD_NUMBER: _ClassVar[int]
    start_ns: int
    duration_ns: int
    from_value: int
    to_value: int
    def __init__(self, start_ns: _Optional[int] = ..., duration_ns: _Optional[int] = ..., from_value: _Optional[int] = ..., to_value: _Optional[int] = ...) -> None: ...

class LoadPlan(_message.Message):
    __slots__ = ("model", "segments", "end_ns", "iterations", "target", "graceful_stop_ns", "name", "user", "preallocated_users", "max_users", "iterations_per_user", "start_ns", "tags", "exclude_tags", "first_iteration", "over")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    GRACEFUL_STOP_NS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    PREALLOCATED_USERS_FIELD_NUMBER: _ClassVar[int]
    MAX_USERS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_PER_USER_FIELD_NUMBER: _ClassVar[int]
    START_NS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_TAGS_FIELD_NUMBER: _ClassVar[int]
    FIRST_ITERATION_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    model: LoadModel
    segments: _containers.RepeatedCompositeFieldContainer[Segment]
    end_ns: int
    iterations: int
    target: str
    graceful_stop_ns: int
    name: str
    user: str
    preallocated_users: int
    max_users: int
    iterations_per_user: int
    start_ns: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    exclude_tags: _containers.RepeatedScalarFieldContainer[str]
    first_iteration: int
    over: bool
    def __init__(self, model: _Optional[_Union[LoadModel, str]] = ..., segments: _Optional[_Iterable[_Union[Segment, _Mapping]]] = ..., end_ns: _Optional[int] = ..., iterations: _Optional[int] = ..., target: _Optional[str] = ..., graceful_stop_ns: _Optional[int] = ..., name: _Optional[str] = ..., user: _Optional[str] = ..., preallocated_users: _Optional[int] = ..., max_users: _Optional[int] = ..., iterations_per_user: _Optional[int] = ..., start_ns: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ..., exclude_tags: _Optional[_Iterable[str]] = ..., first_iteration: _Optional[int] = ..., over: _Optional[bool] = ...) -> None: ...

class MessageFrame(_message.Message):
    __slots__ = ("hub", "engine", "start", "first", "oldest", "entries", "received", "resend", "rewind")
    HUB_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    hub: str
    engine: int
    start: int
    first: int
    oldest: int
    entries: _containers.RepeatedScalarFieldContainer[bytes]
    received: int
    resend: bool
    rewind: bool
    def __init__(self, hub: _Optional[str] = ..., engine: _Optional[int] = ..., start: _Optional[int] = ..., first: _Optional[int] = ..., oldest: _Optional[int] = ..., entries: _Optional[_Iterable[bytes]] = ..., received: _Optional[int] = ..., resend: _Optional[bool] = ..., rewind: _Optional[bool] = ...) -> None: ...

class MessageEntry(_message.Message):
    __slots__ = ("message", "answer")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    message: CustomMessage
    answer: MessageAnswer
    def __init__(self, message: _Optional[_Union[CustomMessage, _Mapping]] = ..., answer: _Optional[_Union[MessageAnswer, _Mapping]] = ...) -> None: ...

class MessagePeer(_message.Message):
    __slots__ = ("director", "worker", "attempt", "engine", "start")
    DIRECTOR_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    director: bool
    worker: int
    attempt: int
    engine: int
    start: int
    def __init__(self, director: _Optional[bool] = ..., worker: _Optional[int] = ..., attempt: _Optional[int] = ..., engine: _Optional[int] = ..., start: _Optional[int] = ...) -> None: ...

class CustomMessage(_message.Message):
    __slots__ = ("id", "sender", "to", "worker", "engine", "name", "data", "is_bytes")
    class Audience(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        AUDIENCE_UNSPECIFIED: _ClassVar[CustomMessage.Audience]
        DIRECTOR: _ClassVar[CustomMessage.Audience]
        WORKERS: _ClassVar[CustomMessage.Audience]
        WORKER: _ClassVar[CustomMessage.Audience]
        ENGINE: _ClassVar[CustomMessage.Audience]
    AUDIENCE_UNSPECIFIED: CustomMessage.Audience
    DIRECTOR: CustomMessage.Audience
    WORKERS: CustomMessage.Audience
    WORKER: CustomMessage.Audience
    ENGINE: CustomMessage.Audience
    ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    IS_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    sender: MessagePeer
    to: CustomMessage.Audience
    worker: int
    engine: int
    name: str
    data: bytes
    is_bytes: bool
    def __init__(self, id: _Optional[int] = ..., sender: _Optional[_Union[MessagePeer, _Mapping]] = ..., to: _Optional[_Union[CustomMessage.Audience, str]] = ..., worker: _Optional[int] = ..., engine: _Optional[int] = ..., name: _Optional[str] = ..., data: _Optional[bytes] = ..., is_bytes: _Optional[bool] = ...) -> None: ...

class MessageAnswer(_message.Message):
    __slots__ = ("id", "sender", "by", "status", "reason", "result", "is_bytes", "expected")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[MessageAnswer.Status]
        PROCESSED: _ClassVar[MessageAnswer.Status]
        REJECTED: _ClassVar[MessageAnswer.Status]
        FAILED: _ClassVar[MessageAnswer.Status]
        ROUTED: _ClassVar[MessageAnswer.Status]
        BUSY: _ClassVar[MessageAnswer.Status]
        RESUME: _ClassVar[MessageAnswer.Status]
    STATUS_UNSPECIFIED: MessageAnswer.Status
    PROCESSED: MessageAnswer.Status
    REJECTED: MessageAnswer.Status
    FAILED: MessageAnswer.Status
    ROUTED: MessageAnswer.Status
    BUSY: MessageAnswer.Status
    RESUME: MessageAnswer.Status
    ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    IS_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    id: int
    sender: MessagePeer
    by: MessagePeer
    status: MessageAnswer.Status
    reason: str
    result: bytes
    is_bytes: bool
    expected: int
    def __init__(self, id: _Optional[int] = ..., sender: _Optional[_Union[MessagePeer, _Mapping]] = ..., by: _Optional[_Union[MessagePeer, _Mapping]] = ..., status: _Optional[_Union[MessageAnswer.Status, str]] = ..., reason: _Optional[str] = ..., result: _Optional[bytes] = ..., is_bytes: _Optional[bool] = ..., expected: _Optional[int] = ...) -> None: ...

class LaneState(_message.Message):
    __slots__ = ("name", "depth", "running", "oldest_ns", "processed", "failed", "rejected", "duration_ns", "longest_ns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_NS_FIELD_NUMBER: _ClassVar[int]
    PROCESSED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    LONGEST_NS_FIELD_NUMBER: _ClassVar[int]
    name: str
    depth: int
    running: int
    oldest_ns: int
    processed: int
    failed: int
    rejected: int
    duration_ns: int
    longest_ns: int
    def __init__(self, name: _Optional[str] = ..., depth: _Optional[int] = ..., running: _Optional[int] = ..., oldest_ns: _Optional[int] = ..., processed: _Optional[int] = ..., failed: _Optional[int] = ..., rejected: _Optional[int] = ..., duration_ns: _Optional[int] = ..., longest_ns: _Optional[int] = ...) -> None: ...

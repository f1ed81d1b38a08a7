from loadstone_protocol.v1 import statistics_pb2 as _statistics_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_STAGE_UNSPECIFIED: _ClassVar[RunStage]
    GATHERING: _ClassVar[RunStage]
    ARMED: _ClassVar[RunStage]
    RUNNING_LOAD: _ClassVar[RunStage]
    STOPPING_LOAD: _ClassVar[RunStage]
    FINISHED: _ClassVar[RunStage]
RUN_STAGE_UNSPECIFIED: RunStage
GATHERING: RunStage
ARMED: RunStage
RUNNING_LOAD: RunStage
STOPPING_LOAD: RunStage
FINISHED: RunStage

class GetRequest(_message.Message):
    __slots__ = ("run_uid",)
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    def __init__(self, run_uid: _Optional[str] = ...) -> None: ...

class RowsRequest(_message.Message):
    __slots__ = ("run_uid", "width_seconds", "from_second")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    WIDTH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    FROM_SECOND_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    width_seconds: int
    from_second: int
    def __init__(self, run_uid: _Optional[str] = ..., width_seconds: _Optional[int] = ..., from_second: _Optional[int] = ...) -> None: ...

class RowsMessage(_message.Message):
    __slots__ = ("row", "outcome")
    ROW_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    row: Row
    outcome: RunOutcome
    def __init__(self, row: _Optional[_Union[Row, _Mapping]] = ..., outcome: _Optional[_Union[RunOutcome, _Mapping]] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("width_seconds", "second", "ended_ns", "requests", "failures", "iterations", "dropped_iterations", "users", "p50_ns", "p95_ns", "p99_ns", "gaps", "series")
    WIDTH_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    ENDED_NS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    P50_NS_FIELD_NUMBER: _ClassVar[int]
    P95_NS_FIELD_NUMBER: _ClassVar[int]
    P99_NS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    width_seconds: int
    second: int
    ended_ns: int
    requests: int
    failures: int
    iterations: int
    dropped_iterations: int
    users: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    gaps: int
    series: _containers.RepeatedCompositeFieldContainer[SeriesRow]
    def __init__(self, width_seconds: _Optional[int] = ..., second: _Optional[int] = ..., ended_ns: _Optional[int] = ..., requests: _Optional[int] = ..., failures: _Optional[int] = ..., iterations: _Optional[int] = ..., dropped_iterations: _Optional[int] = ..., users: _Optional[int] = ..., p50_ns: _Optional[int] = ..., p95_ns: _Optional[int] = ..., p99_ns: _Optional[int] = ..., gaps: _Optional[int] = ..., series: _Optional[_Iterable[_Union[SeriesRow, _Mapping]]] = ...) -> None: ...

class SeriesRow(_message.Message):
    __slots__ = ("key", "count", "total", "failures", "p50", "p95", "p99")
    KEY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    P50_FIELD_NUMBER: _ClassVar[int]
    P95_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    key: _statistics_pb2.SeriesKey
    count: int
    total: int
    failures: int
    p50: int
    p95: int
    p99: int
    def __init__(self, key: _Optional[_Union[_statistics_pb2.SeriesKey, _Mapping]] = ..., count: _Optional[int] = ..., total: _Optional[int] = ..., failures: _Optional[int] = ..., p50: _Optional[int] = ..., p95: _Optional[int] = ..., p99: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("run_uid", "epoch", "figures_every_ms", "protocol_major", "protocol_minor", "version")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIGURES_EVERY_MS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    epoch: int
    figures_every_ms: int
    protocol_major: int
    protocol_minor: int
    version: str
    def __init__(self, run_uid: _Optional[str] = ..., epoch: _Optional[int] = ..., figures_every_ms: _Optional[int] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class RunReport(_message.Message):
    __slots__ = ("run_uid", "epoch", "sequence", "stage", "workers", "progress", "thresholds_json", "findings", "times", "outcome", "waiting_for", "paused", "config_revision", "protocol_major", "protocol_minor", "version")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_JSON_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WAITING_FOR_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_REVISION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    epoch: int
    sequence: int
    stage: RunStage
    workers: _containers.RepeatedCompositeFieldContainer[WorkerReport]
    progress: Progress
    thresholds_json: bytes
    findings: _containers.RepeatedScalarFieldContainer[str]
    times: RunTimes
    outcome: RunOutcome
    waiting_for: str
    paused: bool
    config_revision: int
    protocol_major: int
    protocol_minor: int
    version: str
    def __init__(self, run_uid: _Optional[str] = ..., epoch: _Optional[int] = ..., sequence: _Optional[int] = ..., stage: _Optional[_Union[RunStage, str]] = ..., workers: _Optional[_Iterable[_Union[WorkerReport, _Mapping]]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., thresholds_json: _Optional[bytes] = ..., findings: _Optional[_Iterable[str]] = ..., times: _Optional[_Union[RunTimes, _Mapping]] = ..., outcome: _Optional[_Union[RunOutcome, _Mapping]] = ..., waiting_for: _Optional[str] = ..., paused: _Optional[bool] = ..., config_revision: _Optional[int] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class WorkerReport(_message.Message):
    __slots__ = ("worker", "attempt", "state", "pod", "reason", "message", "exit_code", "users")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[WorkerReport.State]
        EXPECTED: _ClassVar[WorkerReport.State]
        CONNECTED: _ClassVar[WorkerReport.State]
        READY_WORKER: _ClassVar[WorkerReport.State]
        RUNNING_WORKER: _ClassVar[WorkerReport.State]
        SUSPECT: _ClassVar[WorkerReport.State]
        ENDED_WORKER: _ClassVar[WorkerReport.State]
        LOST: _ClassVar[WorkerReport.State]
        RETIRED: _ClassVar[WorkerReport.State]
    STATE_UNSPECIFIED: WorkerReport.State
    EXPECTED: WorkerReport.State
    CONNECTED: WorkerReport.State
    READY_WORKER: WorkerReport.State
    RUNNING_WORKER: WorkerReport.State
    SUSPECT: WorkerReport.State
    ENDED_WORKER: WorkerReport.State
    LOST: WorkerReport.State
    RETIRED: WorkerReport.State
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    worker: int
    attempt: int
    state: WorkerReport.State
    pod: str
    reason: str
    message: str
    exit_code: int
    users: int
    def __init__(self, worker: _Optional[int] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[WorkerReport.State, str]] = ..., pod: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., exit_code: _Optional[int] = ..., users: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("percent", "elapsed_ns", "users", "requests", "failures", "requests_per_second", "failures_per_second", "p50_ns", "p95_ns", "p99_ns", "iterations", "dropped_iterations")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_NS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FAILURES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    P50_NS_FIELD_NUMBER: _ClassVar[int]
    P95_NS_FIELD_NUMBER: _ClassVar[int]
    P99_NS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    percent: int
    elapsed_ns: int
    users: int
    requests: int
    failures: int
    requests_per_second: int
    failures_per_second: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    iterations: int
    dropped_iterations: int
    def __init__(self, percent: _Optional[int] = ..., elapsed_ns: _Optional[int] = ..., users: _Optional[int] = ..., requests: _Optional[int] = ..., failures: _Optional[int] = ..., requests_per_second: _Optional[int] = ..., failures_per_second: _Optional[int] = ..., p50_ns: _Optional[int] = ..., p95_ns: _Optional[int] = ..., p99_ns: _Optional[int] = ..., iterations: _Optional[int] = ..., dropped_iterations: _Optional[int] = ...) -> None: ...

class RunTimes(_message.Message):
    __slots__ = ("workers_ready_ns", "load_started_ns", "load_stopped_ns", "finished_ns", "start_skew_ns")
    WORKERS_READY_NS_FIELD_NUMBER: _ClassVar[int]
    LOAD_STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    LOAD_STOPPED_NS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_NS_FIELD_NUMBER: _ClassVar[int]
    START_SKEW_NS_FIELD_NUMBER: _ClassVar[int]
    workers_ready_ns: int
    load_started_ns: int
    load_stopped_ns: int
    finished_ns: int
    start_skew_ns: int
    def __init__(self, workers_ready_ns: _Optional[int] = ..., load_started_ns: _Optional[int] = ..., load_stopped_ns: _Optional[int] = ..., finished_ns: _Optional[int] = ..., start_skew_ns: _Optional[int] = ...) -> None: ...

class RunOutcome(_message.Message):
    __slots__ = ("verdict", "reason", "message", "exit_code", "results_json", "load_json", "thresholds_json", "summary_json", "report_sha256", "logs_json")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_JSON_FIELD_NUMBER: _ClassVar[int]
    LOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_JSON_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_JSON_FIELD_NUMBER: _ClassVar[int]
    REPORT_SHA256_FIELD_NUMBER: _ClassVar[int]
    LOGS_JSON_FIELD_NUMBER: _ClassVar[int]
    verdict: str
    reason: str
    message: str
    exit_code: int
    results_json: bytes
    load_json: bytes
    thresholds_json: bytes
    summary_json: bytes
    report_sha256: bytes
    logs_json: bytes
    def __init__(self, verdict: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., exit_code: _Optional[int] = ..., results_json: _Optional[bytes] = ..., load_json: _Optional[bytes] = ..., thresholds_json: _Optional[bytes] = ..., summary_json: _Optional[bytes] = ..., report_sha256: _Optional[bytes] = ..., logs_json: _Optional[bytes] = ...) -> None: ...

class Steering(_message.Message):
    __slots__ = ("run_uid", "epoch", "revision", "stop", "stop_reason", "immediate", "ended", "paused", "aims", "config", "workers", "hopeless", "hopeless_reason")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    IMMEDIATE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    AIMS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_REASON_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    epoch: int
    revision: int
    stop: bool
    stop_reason: str
    immediate: bool
    ended: _containers.RepeatedCompositeFieldContainer[WorkerEnd]
    paused: bool
    aims: _containers.RepeatedCompositeFieldContainer[Aim]
    config: Values
    workers: int
    hopeless: str
    hopeless_reason: str
    def __init__(self, run_uid: _Optional[str] = ..., epoch: _Optional[int] = ..., revision: _Optional[int] = ..., stop: _Optional[bool] = ..., stop_reason: _Optional[str] = ..., immediate: _Optional[bool] = ..., ended: _Optional[_Iterable[_Union[WorkerEnd, _Mapping]]] = ..., paused: _Optional[bool] = ..., aims: _Optional[_Iterable[_Union[Aim, _Mapping]]] = ..., config: _Optional[_Union[Values, _Mapping]] = ..., workers: _Optional[int] = ..., hopeless: _Optional[str] = ..., hopeless_reason: _Optional[str] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, str]
    def __init__(self, values: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Aim(_message.Message):
    __slots__ = ("scenario", "value", "spawn_rate", "rate")
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SPAWN_RATE_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    scenario: str
    value: int
    spawn_rate: int
    rate: bool
    def __init__(self, scenario: _Optional[str] = ..., value: _Optional[int] = ..., spawn_rate: _Optional[int] = ..., rate: _Optional[bool] = ...) -> None: ...

class WorkerEnd(_message.Message):
    __slots__ = ("worker", "attempt", "reason", "message", "exit_code")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    worker: int
    attempt: int
    reason: str
    message: str
    exit_code: int
    def __init__(self, worker: _Optional[int] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...

class SteeringAck(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: int
    def __init__(self, revision: _Optional[int] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("run_uid",)
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    def __init__(self, run_uid: _Optional[str] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("gzip_json", "sha256")
    GZIP_JSON_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    gzip_json: bytes
    sha256: bytes
    def __init__(self, gzip_json: _Optional[bytes] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class LogsRequest(_message.Message):
    __slots__ = ("run_uid", "lines", "bytes")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    lines: int
    bytes: int
    def __init__(self, run_uid: _Optional[str] = ..., lines: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Logs(_message.Message):
    __slots__ = ("gzip_text", "lines")
    GZIP_TEXT_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    gzip_text: bytes
    lines: int
    def __init__(self, gzip_text: _Optional[bytes] = ..., lines: _Optional[int] = ...) -> None: ...

class StoredNotice(_message.Message):
    __slots__ = ("run_uid", "sha256")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    sha256: bytes
    def __init__(self, run_uid: _Optional[str] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class StoredAck(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_TREND: _ClassVar[Kind]
    KIND_COUNTER: _ClassVar[Kind]
    KIND_RATE: _ClassVar[Kind]
    KIND_GAUGE: _ClassVar[Kind]
KIND_UNSPECIFIED: Kind
KIND_TREND: Kind
KIND_COUNTER: Kind
KIND_RATE: Kind
KIND_GAUGE: Kind

class StreamId(_message.Message):
    __slots__ = ("worker", "attempt", "engine", "start")
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    worker: int
    attempt: int
    engine: int
    start: int
    def __init__(self, worker: _Optional[int] = ..., attempt: _Optional[int] = ..., engine: _Optional[int] = ..., start: _Optional[int] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("started", "completed", "unsent", "ambiguous", "iterations_started", "iterations_completed", "scenarios", "warm_up", "measured")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    UNSENT_FIELD_NUMBER: _ClassVar[int]
    AMBIGUOUS_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_STARTED_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    SCENARIOS_FIELD_NUMBER: _ClassVar[int]
    WARM_UP_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    started: int
    completed: int
    unsent: int
    ambiguous: int
    iterations_started: int
    iterations_completed: int
    scenarios: _containers.RepeatedCompositeFieldContainer[ScenarioIterations]
    warm_up: int
    measured: int
    def __init__(self, started: _Optional[int] = ..., completed: _Optional[int] = ..., unsent: _Optional[int] = ..., ambiguous: _Optional[int] = ..., iterations_started: _Optional[int] = ..., iterations_completed: _Optional[int] = ..., scenarios: _Optional[_Iterable[_Union[ScenarioIterations, _Mapping]]] = ..., warm_up: _Optional[int] = ..., measured: _Optional[int] = ...) -> None: ...

class ScenarioIterations(_message.Message):
    __slots__ = ("started", "completed")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    started: int
    completed: int
    def __init__(self, started: _Optional[int] = ..., completed: _Optional[int] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SeriesKey(_message.Message):
    __slots__ = ("metric", "scenario", "method", "name", "labels")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    metric: str
    scenario: str
    method: str
    name: str
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, metric: _Optional[str] = ..., scenario: _Optional[str] = ..., method: _Optional[str] = ..., name: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("name", "count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class SeriesState(_message.Message):
    __slots__ = ("key", "kind", "count", "total", "minimum", "maximum", "zeros", "index_deltas", "counts", "outcomes")
    KEY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    ZEROS_FIELD_NUMBER: _ClassVar[int]
    INDEX_DELTAS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    key: SeriesKey
    kind: Kind
    count: int
    total: int
    minimum: int
    maximum: int
    zeros: int
    index_deltas: _containers.RepeatedScalarFieldContainer[int]
    counts: _containers.RepeatedScalarFieldContainer[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, key: _Optional[_Union[SeriesKey, _Mapping]] = ..., kind: _Optional[_Union[Kind, str]] = ..., count: _Optional[int] = ..., total: _Optional[int] = ..., minimum: _Optional[int] = ..., maximum: _Optional[int] = ..., zeros: _Optional[int] = ..., index_deltas: _Optional[_Iterable[int]] = ..., counts: _Optional[_Iterable[int]] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class ErrorCount(_message.Message):
    __slots__ = ("kind", "message", "name", "count")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    message: str
    name: str
    count: int
    def __init__(self, kind: _Optional[str] = ..., message: _Optional[str] = ..., name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class StreamState(_message.Message):
    __slots__ = ("stream", "sequence", "second", "full", "series", "counters", "errors", "users", "final", "first_start_ns", "scenario_users", "history")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_START_NS_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_USERS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    stream: StreamId
    sequence: int
    second: int
    full: bool
    series: _containers.RepeatedCompositeFieldContainer[SeriesState]
    counters: Counters
    errors: _containers.RepeatedCompositeFieldContainer[ErrorCount]
    users: int
    final: bool
    first_start_ns: int
    scenario_users: _containers.RepeatedScalarFieldContainer[int]
    history: _containers.RepeatedCompositeFieldContainer[UsersAt]
    def __init__(self, stream: _Optional[_Union[StreamId, _Mapping]] = ..., sequence: _Optional[int] = ..., second: _Optional[int] = ..., full: _Optional[bool] = ..., series: _Optional[_Iterable[_Union[SeriesState, _Mapping]]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., errors: _Optional[_Iterable[_Union[ErrorCount, _Mapping]]] = ..., users: _Optional[int] = ..., final: _Optional[bool] = ..., first_start_ns: _Optional[int] = ..., scenario_users: _Optional[_Iterable[int]] = ..., history: _Optional[_Iterable[_Union[UsersAt, _Mapping]]] = ...) -> None: ...

class UsersAt(_message.Message):
    __slots__ = ("second", "sequence", "scenario_users")
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_USERS_FIELD_NUMBER: _ClassVar[int]
    second: int
    sequence: int
    scenario_users: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, second: _Optional[int] = ..., sequence: _Optional[int] = ..., scenario_users: _Optional[_Iterable[int]] = ...) -> None: ...

class PackedStreamState(_message.Message):
    __slots__ = ("stream", "sequence", "second", "full", "series", "counters", "errors", "users", "final", "first_start_ns", "scenario_users", "history")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    USERS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_START_NS_FIELD_NUMBER: _ClassVar[int]
    SCENARIO_USERS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    stream: StreamId
    sequence: int
    second: int
    full: bool
    series: _containers.RepeatedScalarFieldContainer[bytes]
    counters: Counters
    errors: _containers.RepeatedCompositeFieldContainer[ErrorCount]
    users: int
    final: bool
    first_start_ns: int
    scenario_users: _containers.RepeatedScalarFieldContainer[int]
    history: _containers.RepeatedCompositeFieldContainer[UsersAt]
    def __init__(self, stream: _Optional[_Union[StreamId, _Mapping]] = ..., sequence: _Optional[int] = ..., second: _Optional[int] = ..., full: _Optional[bool] = ..., series: _Optional[_Iterable[bytes]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., errors: _Optional[_Iterable[_Union[ErrorCount, _Mapping]]] = ..., users: _Optional[int] = ..., final: _Optional[bool] = ..., first_start_ns: _Optional[int] = ..., scenario_users: _Optional[_Iterable[int]] = ..., history: _Optional[_Iterable[_Union[UsersAt, _Mapping]]] = ...) -> None: ...

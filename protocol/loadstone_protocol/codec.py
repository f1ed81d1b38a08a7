"""Turn core's values into messages and back: statistics and load plans, what engines need. gRPC is not imported here.

Whatever comes from a message is checked, as any bytes parse as some message; what agents and followers say beside it
is in `coordination` and `control`.
"""

from __future__ import annotations

from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from loadstone_core.errors import InternalError
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.stream import (
    BLOCKS,
    LARGEST_COUNT,
    LARGEST_SUM,
    Counters,
    ErrorCount,
    SeriesState,
    StreamId,
    StreamState,
    unsound,
)
from loadstone_protocol.history import history_from_messages, history_to_messages
from loadstone_protocol.v1 import engine_pb2, statistics_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERIES_MAX: Final = 4_096  # of one state: the cap of an engine, its overflow series, and room
NAME_MAX: Final = 1_024
LABELS_MAX: Final = 32
MOMENT_MAX_NS: Final = 2**62  # of any clock; how far apart two of them are has to be told, too

_START_UNKNOWN: Final = -1
_TOTAL_END: Final = 1 << 63

_KINDS: Final = {
    Kind.TREND: statistics_pb2.KIND_TREND,
    Kind.COUNTER: statistics_pb2.KIND_COUNTER,
    Kind.RATE: statistics_pb2.KIND_RATE,
    Kind.GAUGE: statistics_pb2.KIND_GAUGE,
}
KINDS: Final[dict[int, Kind]] = {number: kind for kind, number in _KINDS.items()}
_MODELS: Final = {
    Model.USERS: engine_pb2.USERS,
    Model.RATE: engine_pb2.RATE,
    Model.ITERATIONS: engine_pb2.ITERATIONS,
}
_MODELS_BACK: Final = {number: model for model, number in _MODELS.items()}


class WireError(InternalError):
    """A message that parses and yet cannot be meant; it is refused and harms nothing else."""


def stream_id_to_message(stream: StreamId) -> statistics_pb2.StreamId:
    """Return the message of a stream's name."""
    return statistics_pb2.StreamId(
        worker=stream.worker, attempt=stream.attempt, engine=stream.engine, start=stream.start
    )


def stream_id_from_message(message: statistics_pb2.StreamId) -> StreamId:
    """Return a stream's name; raise WireError if attempt or start are not counted from 1."""
    if not (message.attempt and message.start):
        raise WireError("a stream's attempt and start are counted from 1")
    return StreamId(message.worker, message.attempt, message.engine, message.start)


def counters_to_message(counters: Counters) -> statistics_pb2.Counters:
    """Return the message of an engine's exact counters."""
    return statistics_pb2.Counters(
        started=counters.started,
        completed=counters.completed,
        unsent=counters.unsent,
        ambiguous=counters.ambiguous,
        iterations_started=counters.iterations_started,
        iterations_completed=counters.iterations_completed,
        measured=counters.measured,
        scenarios=[
            statistics_pb2.ScenarioIterations(started=started, completed=completed)
            for started, completed in counters.scenarios
        ],
        warm_up=counters.warm_up,
    )


def counters_from_message(message: statistics_pb2.Counters) -> Counters:
    """Return an engine's exact counters.

    Unsent and ambiguous may be ahead of completed by the one request during which an engine was killed.

    Raises:
        WireError: more was completed than started, or so much that the sum of all engines is in no message.
    """
    if message.completed > message.started or message.iterations_completed > message.iterations_started:
        raise WireError("counters say that more was completed than started")
    if len(message.scenarios) > BLOCKS:
        raise WireError(f"counters have {len(message.scenarios)} scenarios; at most {BLOCKS} are allowed")
    read = Counters(
        started=message.started,
        completed=message.completed,
        unsent=message.unsent,
        ambiguous=message.ambiguous,
        iterations_started=message.iterations_started,
        iterations_completed=message.iterations_completed,
        measured=message.measured,
        scenarios=tuple((each.started, each.completed) for each in message.scenarios),
        warm_up=message.warm_up,
    )
    counts = (read.started, read.unsent, read.ambiguous, read.iterations_started, read.measured, read.warm_up)
    if max(*counts, *chain.from_iterable(read.scenarios)) > LARGEST_COUNT:
        raise WireError(f"counters say more than {LARGEST_COUNT}")
    return read


def stream_state_to_message(state: StreamState, *, first_start_ns: int = 0) -> statistics_pb2.StreamState:
    """Return the message of a stream's cumulative state.

    Args:
        state: what was recorded.
        first_start_ns: when the sender's first user or iteration began, on its monotonic clock; 0 = not yet.
    """
    return statistics_pb2.StreamState(
        stream=stream_id_to_message(state.stream),
        sequence=state.sequence,
        second=state.second,
        full=state.full,
        series=[_series_to_message(series) for series in state.series],
        counters=counters_to_message(state.counters),
        errors=[
            statistics_pb2.ErrorCount(kind=each.kind, message=each.message, name=each.name, count=each.count)
            for each in state.errors
        ],
        users=state.users,
        final=state.final,
        first_start_ns=first_start_ns,
        scenario_users=state.scenario_users,
        history=history_to_messages(state.history),
    )


def stream_state_from_message(
    message: statistics_pb2.StreamState | statistics_pb2.PackedStreamState,
    read_series: Callable[[Any], SeriesState] | None = None,
) -> StreamState:
    """Return a stream's cumulative state, of which every histogram adds up.

    Args:
        message: with series that are messages, or their bytes.
        read_series: makes a series of what the message holds of it.

    Raises:
        WireError: a number is out of its range, a series has no name or comes twice, a histogram does not add up.
    """
    if len(message.series) > SERIES_MAX:
        raise WireError(f"a state has {len(message.series)} series; at most {SERIES_MAX} are allowed")
    read: Callable[[Any], SeriesState] = read_series or _series_from_message
    state = StreamState(
        stream=stream_id_from_message(message.stream),
        sequence=message.sequence,
        second=message.second,
        full=message.full,
        series=tuple(map(read, message.series)),
        counters=counters_from_message(message.counters),
        errors=tuple(
            ErrorCount(kind=each.kind, message=each.message, name=each.name, count=each.count)
            for each in message.errors
        ),
        users=message.users,
        final=message.final,
        scenario_users=tuple(message.scenario_users),
        history=history_from_messages(message.history),
    )
    if fault := unsound(state):
        raise WireError(f"a state of stream {state.stream} cannot be meant: {fault}")
    return state


def series_from_bytes(content: bytes) -> SeriesState:
    """Return the state of a series; raise WireError if these bytes are none."""
    return _series_from_message(_series_message(content))


def series_to_bytes(series: SeriesState) -> bytes:
    """Return the state of a series as it is sent."""
    return _series_to_message(series).SerializeToString()


def canonical_series(content: bytes) -> bytes:
    """Return the state of a series as we send it: each field once, numbers packed, nothing unknown.

    Raises:
        WireError: these bytes are none.
    """
    message = _series_message(content)
    message.DiscardUnknownFields()
    return message.SerializeToString()


def write_key(key: SeriesKey, message: statistics_pb2.SeriesKey) -> None:
    """Write the key of a series into its empty message."""
    message.metric = key.metric
    message.scenario = key.scenario
    message.method = key.method
    message.name = key.name
    for name, value in key.labels:
        message.labels.add(name=name, value=value)


def carried(total: int) -> int:
    """Return a sum of samples as it travels: what 64 bits with a sign cannot carry stands at the most that they can.

    Only averages are made of such a sum, and they are too low from there on: after 2^63 nanoseconds, for which the
    2,000 users of an engine wait 53 days. Counts and percentiles stay exact.
    """
    return max(-_TOTAL_END, min(total, _TOTAL_END - 1))


def key_from_bytes(content: bytes) -> SeriesKey:
    """Return the key of a series; raise WireError if these bytes are none."""
    try:
        return _key_from_message(statistics_pb2.SeriesKey.FromString(content))
    except DecodeError as error:
        raise WireError("these bytes are no key of a series") from error


def stream_state_to_bytes(state: StreamState) -> bytes:
    """Return a stream's cumulative state as it is kept on disk."""
    return stream_state_to_message(state).SerializeToString()


def stream_state_from_bytes(content: bytes) -> StreamState:
    """Return what `stream_state_to_bytes` was given; raise WireError if it is none."""
    try:
        return stream_state_from_message(statistics_pb2.StreamState.FromString(content))
    except DecodeError as error:
        raise WireError("these bytes are no state of a stream") from error


def scenario_to_message(scenario: Scenario) -> engine_pb2.LoadPlan:
    """Return the message of a scenario: what engines need of it."""
    load = scenario.load
    return engine_pb2.LoadPlan(
        name=scenario.name,
        user=scenario.user or "",
        start_ns=_START_UNKNOWN if scenario.start_ns is None else scenario.start_ns,
        over=scenario.is_over,
        first_iteration=scenario.first_iteration,
        tags=scenario.tags,
        exclude_tags=scenario.exclude_tags,
        model=_MODELS[load.model],
        segments=[
            engine_pb2.Segment(
                start_ns=each.start_ns,
                duration_ns=each.duration_ns,
                from_value=each.from_value,
                to_value=each.to_value,
            )
            for each in load.profile.segments
        ],
        end_ns=load.profile.end_ns or 0,
        iterations=load.iterations or 0,
        iterations_per_user=load.iterations_per_user or 0,
        preallocated_users=load.preallocated_users,
        max_users=load.max_users or 0,
        target=scenario.target or "",
        graceful_stop_ns=scenario.graceful_stop_ns,
    )


def scenarios_from_messages(messages: Sequence[engine_pb2.LoadPlan]) -> tuple[Scenario, ...]:
    """Return a run's scenarios; raise WireError if there is none, too many, or one that cannot be meant."""
    if not 0 < len(messages) <= BLOCKS or len({each.name for each in messages}) < len(messages):
        raise WireError(f"a run has 1 to {BLOCKS} scenarios, each with a name of its own")
    return tuple(map(scenario_from_message, messages))


def scenario_from_message(message: engine_pb2.LoadPlan) -> Scenario:
    """Return a scenario.

    Raises:
        WireError: the model is not known, or the segments leave a gap.
    """
    model = _MODELS_BACK.get(message.model)
    if model is None:
        raise WireError(f"the load's model {message.model} is not known here")
    if message.end_ns < 0 or message.graceful_stop_ns < 0 or message.start_ns < _START_UNKNOWN:
        raise WireError("a load's times are not negative")
    segments = tuple(
        Segment(each.start_ns, each.duration_ns, each.from_value, each.to_value) for each in message.segments
    )
    try:
        profile = Profile(segments, message.end_ns or None)
    except ValueError as error:
        raise WireError(f"the load's profile has a gap: {error}") from error
    return Scenario(
        name=message.name[:NAME_MAX],
        load=LoadProfile(
            model=model,
            profile=profile,
            iterations=message.iterations or None,
            iterations_per_user=message.iterations_per_user or None,
            preallocated_users=message.preallocated_users,
            max_users=message.max_users or None,
        ),
        user=message.user or None,
        target=message.target or None,
        graceful_stop_ns=message.graceful_stop_ns,
        start_ns=None if message.start_ns == _START_UNKNOWN else message.start_ns,
        first_iteration=message.first_iteration,
        is_over=message.over,
        tags=tuple(message.tags),
        exclude_tags=tuple(message.exclude_tags),
    )


def _series_to_message(state: SeriesState) -> statistics_pb2.SeriesState:
    message = statistics_pb2.SeriesState(
        kind=_KINDS[state.kind],
        count=state.count,
        total=carried(state.total),
        minimum=state.minimum,
        maximum=state.maximum,
        zeros=state.zeros,
        index_deltas=_deltas(state.indexes),
        counts=state.counts,
        outcomes=[
            statistics_pb2.Outcome(name=name, count=min(count, LARGEST_SUM)) for name, count in sorted(state.outcomes)
        ],
    )
    write_key(state.key, message.key)
    return message


def _series_message(content: bytes) -> statistics_pb2.SeriesState:
    try:
        return statistics_pb2.SeriesState.FromString(content)
    except DecodeError as error:
        raise WireError("these bytes are no state of a series") from error


def _series_from_message(message: statistics_pb2.SeriesState) -> SeriesState:
    kind = KINDS.get(message.kind)
    if kind is None:
        raise WireError(f"a series has the kind {message.kind}, which is not known here")
    return SeriesState(
        key=_key_from_message(message.key),
        kind=kind,
        count=message.count,
        total=message.total,
        minimum=message.minimum,
        maximum=message.maximum,
        zeros=message.zeros,
        indexes=tuple(accumulate(message.index_deltas)),
        counts=tuple(message.counts),
        outcomes=tuple((each.name, each.count) for each in message.outcomes),
    )


def _key_from_message(message: statistics_pb2.SeriesKey) -> SeriesKey:
    labels = tuple((label.name, label.value) for label in message.labels)
    if not message.metric:
        raise WireError("a series has no metric")
    if len(labels) > LABELS_MAX or max(len(message.metric), len(message.name), len(message.method)) > NAME_MAX:
        raise WireError(f"a series of {message.metric[:64]} has too long a name or too many labels")
    if len(labels) > 1 and any(left[0] >= right[0] for left, right in pairwise(labels)):
        raise WireError(f"the labels of a series of {message.metric} are not sorted, or one comes twice")
    return SeriesKey(message.metric, message.scenario, message.method, message.name, labels)


def _deltas(indexes: Sequence[int]) -> list[int]:
    return [right - left for left, right in pairwise((0, *indexes))]

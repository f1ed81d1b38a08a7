"""The values that a valid LoadTest consists of, in base units. Nothing here parses, checks or fills in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from loadstone_core.spec.defaults import MAX_LOST_PERCENT

if TYPE_CHECKING:
    from collections.abc import Mapping


class Engine(StrEnum):
    """Who runs the script."""

    NATIVE = "native"


class Severity(StrEnum):
    """What a broken threshold does to the verdict."""

    FAIL = "Fail"
    WARN = "Warn"


class Tls(StrEnum):
    """Whether operator, master and workers show each other who they are."""

    MUTUAL = "Mutual"
    DISABLED = "Disabled"


class OnNoData(StrEnum):
    """What a threshold does to the verdict when nothing was measured for it."""

    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    PASS = "Pass"  # noqa: S105 (the word of the resource, no password)


class OnHandlerError(StrEnum):
    """What it does to the verdict when a handler of custom messages fails."""

    CONTINUE = "Continue"
    FAIL = "Fail"


class OnLoss(StrEnum):
    """What happens to the load of a worker that is lost in mid-run."""

    REDISTRIBUTE = "Redistribute"
    REPLACE = "Replace"
    CONTINUE = "Continue"
    ABORT = "Abort"


class Ramp(StrEnum):
    """How a stage gets from the previous value to its own."""

    LINEAR = "Linear"
    STEP = "Step"


@dataclass(frozen=True, slots=True)
class InlineSource:
    """A script in the resource itself; `files` are further files by their path beside it."""

    content: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfigMapSource:
    """A script in a ConfigMap of the same namespace; `items` are (key, path), empty for all keys."""

    name: str
    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A script in the runner image, by its absolute path."""

    path: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where the script is, and which of its files is run: relative, or absolute for an image."""

    kind: InlineSource | ConfigMapSource | ImageSource
    entrypoint: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the load: `users` or `rate` (iterations a second) at its end, never both."""

    duration_ns: int
    users: int | None
    rate: int | None
    ramp: Ramp


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is asked of the target.

    Attributes:
        target: base URL without a trailing slash, or None.
        users: virtual users, all workers together.
        spawn_rate: users started a second; None for all at once.
        rate: iterations started a second, all workers together.
        stages: parts one after another, all of users or all of rates.
        duration_ns: from the start of load, ramps included.
        iterations: how many are done in total.
        iterations_per_user: how many each user does.
        preallocated_users: of an open model, made before it begins.
        max_users: of an open model; what comes due while all are busy is dropped. None: what the rate may need.
        graceful_stop_ns: how long running iterations may take to finish.
        warm_up_ns: the first part of the load, which is not in the results.
        is_paused: nothing is asked of the target until it is false.
        tolerance_ppm: by how much achieved may fall short of planned.
        shape_users: the most users that a shape in the script may ask for; None: no shape is asked.
    """

    target: str | None
    users: int | None
    spawn_rate: int | None
    rate: int | None
    stages: tuple[Stage, ...]
    duration_ns: int | None
    iterations: int | None
    iterations_per_user: int | None = None
    preallocated_users: int = 0
    max_users: int | None = None
    graceful_stop_ns: int
    warm_up_ns: int = 0
    is_paused: bool = False
    tolerance_ppm: int
    shape_users: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSpec:
    """One load of several, or the only one.

    Attributes:
        name: unique in the spec.
        user: name of the class whose users do it, or None for all.
        start_ns: since the start of load; of no meaning with `start_after`.
        start_after: name of the scenario at whose end it begins.
        load: what is its own, with target and gracefulStop of `spec.load` where it has none.
        tags: only tasks with one of these are done; none: all.
        exclude_tags: tasks with one of these are not done.
    """

    name: str
    user: str | None
    start_ns: int
    start_after: str | None
    load: Load
    tags: tuple[str, ...] = ()
    exclude_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workers:
    """How many worker pods, and the allowed part of their pod template as it was written ({} if unset).

    Attributes:
        on_loss: what happens to the load of one that is lost.
        max_lost_percent: how many may be lost at a time, in percent, rounded up to whole workers.
        min_available: with so many the load begins when the start has timed out; None: with all or not at all.
    """

    replicas: int
    template: Mapping[str, Any]
    on_loss: OnLoss = OnLoss.REPLACE
    max_lost_percent: int = MAX_LOST_PERCENT
    min_available: int | None = None


class MasterOnLoss(StrEnum):
    """What becomes of a run whose master is lost: another one takes over, or the run ends."""

    RESTART = "Restart"
    ABORT = "Abort"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSpec:
    """A condition on the results; `expr` is its text in the grammar of thresholds."""

    name: str
    expr: str
    severity: Severity
    abort_on_fail: bool
    delay_abort_ns: int
    on_no_data: OnNoData


@dataclass(frozen=True, slots=True)
class Results:
    """What is reported: percentiles as text without a trailing zero, such as `99.9`; `dropped` is left out."""

    percentiles: tuple[str, ...]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenSecret:
    """Which key of which Secret holds the token of the control API."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How operator, master and workers of a run talk to each other.

    Attributes:
        lease_ns: how long a worker makes load without a word of the master.
    """

    tls: Tls = Tls.MUTUAL
    lease_ns: int = 30_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestSpec:
    """Everything under `spec`, checked and with defaults filled in; `env` and `env_from` stay Kubernetes dicts.

    `scenarios` has at least one: without any in the document, `load` is the scenario `default`. Without `control` the
    run is shown to no platform.
    """

    engine: Engine
    image: str | None
    image_pull_policy: str | None
    source: Source
    load: Load
    scenarios: tuple[ScenarioSpec, ...]
    workers: Workers
    env: tuple[Mapping[str, Any], ...]
    env_from: tuple[Mapping[str, Any], ...]
    thresholds: tuple[ThresholdSpec, ...]
    stop_run: int | None
    suspend: bool
    trigger: str | None
    startup_timeout_ns: int
    results: Results
    transport: Transport = Transport()
    config: Mapping[str, str] = field(default_factory=dict)
    master_on_loss: MasterOnLoss = MasterOnLoss.RESTART
    control: TokenSecret | None = None
    on_handler_error: OnHandlerError = OnHandlerError.CONTINUE
    class_name: str | None = None


@dataclass(frozen=True, slots=True)
class LoadTest:
    """A whole resource; `raw_spec` is the spec as it was written, for `spec_digest`."""

    name: str
    namespace: str
    spec: LoadTestSpec
    raw_spec: Mapping[str, Any]

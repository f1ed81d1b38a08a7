"""The plan of one run and its JSON, `run.json`: the only document that a master reads about its run.

How a plan comes out of a spec belongs to `planner`; the values of the spec belong to the spec.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import InternalError
from loadstone_core.load.change import can_resize
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.spec.defaults import MAX_LOST_PERCENT
from loadstone_core.spec.model import MasterOnLoss, OnLoss, OnNoData, Severity, ThresholdSpec, Tls

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 4
# A worker that was lost so often is not a matter of a node any more.
ATTEMPTS_MOST: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """Which run, and which master of it.

    Attributes:
        uid: the LoadTest's UID, a slash, and the run's number: unique for ever.
        loadtest: the LoadTest's name.
        namespace: of the LoadTest.
        number: of the run, from 1.
        epoch: of the master within the run, from 1.
    """

    uid: str
    loadtest: str
    namespace: str
    number: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRef:
    """The script's files as the pods mount them.

    Attributes:
        digest: the `files_digest` that every worker must find; None for a script that is part of the image.
        directory: where the files are, absolute.
        entrypoint: the file that is run, relative to the directory.
    """

    digest: str | None
    directory: str
    entrypoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Everything that a master must know before its first worker comes; immutable for the whole run.

    Attributes:
        run: its identity.
        spec_digest: of the spec that the plan was made from.
        workers: how many were wanted when the run was planned; into so many parts an engine the load is divided.
        engines_per_worker: at least 1; slots of the load are workers times engines.
        scenarios: the loads, at least one; in all that counts them they have the places of this order.
        tolerance_ppm: by how much the achieved load may fall short.
        target: base URL handed to setup and teardown, if any.
        percentiles: to report, as text.
        thresholds: as in the spec; their expressions are valid.
        warm_up_ns: the first part of the load, which is not in the results.
        startup_timeout_ns: from the run's creation to its first load.
        script: its files.
        config: values for the script, as they are until somebody changes them.
        dropped: metrics and labels that are not recorded.
        master_on_loss: whether another master goes on with the run.
        fails_on_handler_error: a failed handler of custom messages makes the run an Error.
        on_loss: what happens to the load of a worker that is lost.
        max_lost_percent: how many workers may be lost at a time, in percent, rounded up to whole workers.
        min_available: with so many workers the load begins once the start has timed out.
        lease_ns: how long a worker makes load without a word of the master.
        tls: whether the master takes in only those who show a certificate of this run.
        has_replacements: whether somebody makes another of a worker that was lost, as an operator does.
    """

    run: RunIdentity
    spec_digest: str
    workers: int
    engines_per_worker: int
    scenarios: tuple[Scenario, ...]
    tolerance_ppm: int
    target: str | None
    percentiles: tuple[str, ...]
    thresholds: tuple[ThresholdSpec, ...]
    warm_up_ns: int
    startup_timeout_ns: int
    script: ScriptRef
    config: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    master_on_loss: MasterOnLoss = MasterOnLoss.RESTART
    fails_on_handler_error: bool = False
    on_loss: OnLoss = OnLoss.REPLACE
    max_lost_percent: int = MAX_LOST_PERCENT
    min_available: int | None = None
    lease_ns: int = 30_000_000_000
    tls: Tls = Tls.MUTUAL
    has_replacements: bool = True

    def most_lost(self, workers: int) -> int:
        """Return how many of so many workers may be lost at a time, in whole ones, rounded up; never all of them."""
        return min(-(-workers * self.max_lost_percent // 100), workers - 1)

    @property
    def can_resize(self) -> bool:
        """Whether workers may be added and taken away while the run goes on."""
        return can_resize(each.load for each in self.scenarios)

    @property
    def moves_load(self) -> bool:
        """Whether others do what a lost worker was to do."""
        return self.on_loss in {OnLoss.REDISTRIBUTE, OnLoss.REPLACE}

    @property
    def graceful_stop_ns(self) -> int:
        """How long running iterations may take to finish, whatever their scenario."""
        return max(each.graceful_stop_ns for each in self.scenarios)

    @property
    def is_shaped(self) -> bool:
        """Whether a shape in the script says how many users there are."""
        return any(each.load.is_shaped for each in self.scenarios)

    @property
    def slots(self) -> int:
        """How many parts the load has: one for each engine of each worker."""
        return self.workers * self.engines_per_worker

    def to_json(self) -> str:
        """Return the plan as JSON: sorted keys, integers only, the same text for the same plan."""
        return json.dumps({"format": FORMAT} | asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """Return the plan that `to_json` made the text of.

        Raises:
            InternalError: the text is no plan, or one of another version of this program.
        """
        try:
            return _plan(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            raise InternalError(
                f"run.json is no plan of this version ({error!r}); operator and runner image must be of one version"
            ) from error


def _plan(document: Mapping[str, Any]) -> RunPlan:
    fields = dict(document)
    if fields.pop("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    return RunPlan(
        run=RunIdentity(**fields.pop("run")),
        scenarios=tuple(scenario_from(each) for each in fields.pop("scenarios")),
        percentiles=tuple(fields.pop("percentiles")),
        thresholds=tuple(_threshold(each) for each in fields.pop("thresholds")),
        script=ScriptRef(**fields.pop("script")),
        dropped=tuple(fields.pop("dropped")),
        master_on_loss=MasterOnLoss(fields.pop("master_on_loss", MasterOnLoss.RESTART)),
        on_loss=OnLoss(fields.pop("on_loss")),
        tls=Tls(fields.pop("tls")),
        **fields,
    )


def scenario_from(document: Mapping[str, Any]) -> Scenario:
    """Return the scenario that `asdict` made the document of."""
    tags = {name: tuple(document[name]) for name in ("tags", "exclude_tags")}
    return Scenario(**{**document, **tags, "load": load_from(document["load"])})


def load_from(document: Mapping[str, Any]) -> LoadProfile:
    """Return the load that `asdict` made the document of."""
    profile = document["profile"]
    segments = tuple(Segment(**each) for each in profile["segments"])
    made = {"model": Model(document["model"]), "profile": Profile(segments, profile["end_ns"])}
    return LoadProfile(**{**document, **made})


def _threshold(document: Mapping[str, Any]) -> ThresholdSpec:
    words = {"severity": Severity(document["severity"]), "on_no_data": OnNoData(document["on_no_data"])}
    return ThresholdSpec(**{**document, **words})

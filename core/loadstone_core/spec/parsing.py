"""Turn a document into the values of the model, or into every problem that it has.

Whatever JSON is given, the only error that leaves here is `SpecInvalidError`. What threshold expressions mean is
checked in `loadstone_core.admission`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loadstone_core.errors import Problem, SpecInvalidError
from loadstone_core.spec import defaults
from loadstone_core.spec.fields import SPEC
from loadstone_core.spec.inspection import Seen, inspect, shown
from loadstone_core.spec.model import (
    ConfigMapSource,
    Engine,
    ImageSource,
    InlineSource,
    Load,
    LoadTest,
    LoadTestSpec,
    MasterOnLoss,
    OnHandlerError,
    OnLoss,
    OnNoData,
    Ramp,
    Results,
    ScenarioSpec,
    Severity,
    Source,
    Stage,
    ThresholdSpec,
    Tls,
    TokenSecret,
    Transport,
    Workers,
)
from loadstone_core.spec.shape import Free, Record, Text
from loadstone_core.spec.validation import DNS_LABEL, NAME
from loadstone_core.units import parse_duration, parse_share

_ENVELOPE: Final = Record(
    about="A LoadTest.",
    fields={
        "apiVersion": Text(about=f"The version of the resource. Write {defaults.API_VERSION}."),
        "kind": Text(about=f"The kind of the resource. Write {defaults.KIND}."),
        "metadata": Free(about="Name, labels and annotations. Write at least metadata.name."),
        "spec": Free(about=SPEC.about),
        "status": Free(about="What the operator found; ignored."),
    },
    required=("apiVersion", "kind", "metadata", "spec"),
)
_NAME: Final = Text(about="The name.", rules=(*NAME, DNS_LABEL))
_NAMESPACE: Final = Text(about="The namespace.", longest=63, rules=(DNS_LABEL,))


@dataclass(frozen=True, slots=True)
class Document:
    """A LoadTest as far as it could be read: `loadtest` is None exactly if there are problems."""

    loadtest: LoadTest | None
    problems: tuple[Problem, ...]


def parse_spec(mapping: object) -> LoadTestSpec:
    """Return the spec with defaults filled in.

    Raises:
        SpecInvalidError: with every problem in fields, units and rules, by path from `spec`.
    """
    seen = inspect(SPEC, mapping, "spec")
    if seen.problems:
        raise SpecInvalidError(seen.problems)
    return _spec(seen.value)


def parse_loadtest(document: object) -> LoadTest:
    """Return a whole LoadTest; its namespace is `default` if it names none.

    Raises:
        SpecInvalidError: with every problem in apiVersion, kind, metadata and spec.
    """
    read = read_loadtest(document)
    if read.loadtest is None:
        raise SpecInvalidError(read.problems)
    return read.loadtest


def read_loadtest(document: object) -> Document:
    """Return a LoadTest or all its problems, for callers who have more to add to them."""
    if not isinstance(document, Mapping):
        return Document(None, (Problem("document", "must be a LoadTest: a mapping with apiVersion, kind and spec"),))
    # The free fields are inspected one by one below, so that a hole in one does not hide the other's problems.
    envelope = {**document, **{name: {} for name in ("metadata", "spec", "status") if name in document}}
    problems = [_from_the_top(problem) for problem in inspect(_ENVELOPE, envelope, "document").problems]
    problems.extend(_other_kind(document))
    metadata = document.get("metadata", {})
    name, namespace = _names(metadata)
    if "metadata" in document:
        problems.extend((*name.problems, *namespace.problems))
    spec = inspect(SPEC, document["spec"], "spec") if "spec" in document else Seen(None)
    problems.extend(spec.problems)
    if problems:
        return Document(None, tuple(problems))
    raw_spec = copy.deepcopy(document["spec"])
    return Document(LoadTest(name.value, namespace.value, spec=_spec(spec.value), raw_spec=raw_spec), ())


def _from_the_top(problem: Problem) -> Problem:
    return Problem(problem.path.removeprefix("document").lstrip("."), problem.message)


def _other_kind(document: Mapping[Any, Any]) -> list[Problem]:
    expected = {"apiVersion": defaults.API_VERSION, "kind": defaults.KIND}
    told = {field: document.get(field) for field in expected}
    return [
        Problem(field, f"must be {word}, not {shown(written)}")
        for field, word in expected.items()
        if isinstance(written := told[field], str) and written != word
    ]


def _names(metadata: object) -> tuple[Seen, Seen]:
    if not isinstance(metadata, Mapping):
        return Seen(None, (Problem("metadata", "must be a mapping with a name"),)), Seen(None)
    namespace = inspect(_NAMESPACE, metadata.get("namespace", defaults.NAMESPACE), "metadata.namespace")
    if "name" in metadata:
        return inspect(_NAME, metadata["name"], "metadata.name"), namespace
    return Seen(
        None, (Problem("metadata.name", "is required: how the LoadTest is called, such as checkout"),)
    ), namespace


def _spec(value: Mapping[str, Any]) -> LoadTestSpec:
    workers, load = value["workers"], value["load"]
    return LoadTestSpec(
        engine=Engine(value["engine"]),
        image=value.get("image"),
        image_pull_policy=value.get("imagePullPolicy"),
        source=_source(value["source"]),
        load=_load(load),
        scenarios=tuple(
            _scenario(each, load) for each in value.get("scenarios") or [{"name": defaults.SCENARIO, **load}]
        ),
        workers=Workers(
            workers["replicas"],
            workers.get("template", {}),
            on_loss=OnLoss(workers["onLoss"]),
            max_lost_percent=workers["maxLostPercent"],
            min_available=workers.get("minAvailable"),
        ),
        env=tuple(value.get("env", ())),
        env_from=tuple(value.get("envFrom", ())),
        thresholds=tuple(_threshold(threshold) for threshold in value.get("thresholds", ())),
        stop_run=value.get("stopRun"),
        class_name=value.get("className"),
        suspend=value["suspend"],
        # An emptied trigger asks for nothing.
        trigger=value.get("trigger") or None,
        startup_timeout_ns=parse_duration(value["startupTimeout"]),
        results=Results(
            tuple(value["results"]["percentiles"]), tuple(value["results"].get("metrics", {}).get("drop", ()))
        ),
        transport=Transport(tls=Tls(value["transport"]["tls"]), lease_ns=parse_duration(value["transport"]["lease"])),
        config=value.get("config", {}),
        master_on_loss=MasterOnLoss(value["master"]["onLoss"]),
        control=_control(value.get("control")),
        on_handler_error=OnHandlerError(value["onHandlerError"]),
    )


def _control(value: Mapping[str, Any] | None) -> TokenSecret | None:
    return None if value is None else TokenSecret(value["tokenSecret"]["name"], value["tokenSecret"]["key"])


def _source(value: Mapping[str, Any]) -> Source:
    entrypoint = value.get("entrypoint", defaults.ENTRYPOINT)
    match value:
        case {"inline": inline}:
            return Source(InlineSource(inline["content"], inline.get("files", {})), entrypoint)
        case {"configMap": config_map}:
            items = tuple((item["key"], item["path"]) for item in config_map.get("items", ()))
            return Source(ConfigMapSource(config_map["name"], items), entrypoint)
    path = value["image"]["path"]
    return Source(ImageSource(path), path)


def _load(value: Mapping[str, Any]) -> Load:
    target, duration = value.get("target"), value.get("duration")
    return Load(
        target=None if target is None else target.rstrip("/"),
        users=value.get("users"),
        spawn_rate=value.get("spawnRate"),
        rate=value.get("rate"),
        stages=tuple(_stage(stage) for stage in value.get("stages", ())),
        duration_ns=None if duration is None else parse_duration(duration),
        iterations=value.get("iterations"),
        iterations_per_user=value.get("iterationsPerUser"),
        preallocated_users=value.get("preallocatedUsers", 0),
        max_users=value.get("maxUsers"),
        graceful_stop_ns=parse_duration(value["gracefulStop"]),
        is_paused=value.get("paused", False),
        warm_up_ns=parse_duration(value.get("warmUp", "0s")),
        tolerance_ppm=parse_share(value.get("tolerance", defaults.TOLERANCE)),
        shape_users=value.get("shape", {}).get("maxUsers"),
    )


def _scenario(value: Mapping[str, Any], shared: Mapping[str, Any]) -> ScenarioSpec:
    inherited = {field: shared[field] for field in ("target", "gracefulStop", "tolerance") if field in shared}
    return ScenarioSpec(
        name=value["name"],
        user=value.get("user"),
        start_ns=parse_duration(value.get("startTime", "0s")),
        start_after=value.get("startAfter"),
        load=_load({**inherited, **value}),
        tags=tuple(value.get("tags", ())),
        exclude_tags=tuple(value.get("excludeTags", ())),
    )


def _stage(value: Mapping[str, Any]) -> Stage:
    return Stage(
        parse_duration(value["duration"]), value.get("users"), rate=value.get("rate"), ramp=Ramp(value["ramp"])
    )


def _threshold(value: Mapping[str, Any]) -> ThresholdSpec:
    return ThresholdSpec(
        name=value["name"],
        expr=value["expr"],
        severity=Severity(value["severity"]),
        abort_on_fail=value["abortOnFail"],
        delay_abort_ns=parse_duration(value["delayAbort"]),
        on_no_data=OnNoData(value["onNoData"]),
    )

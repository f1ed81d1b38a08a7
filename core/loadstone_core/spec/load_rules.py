"""The rules over the fields of a load and of scenarios: each one sentence, for the API server and for Python.

The fields are declared in `loads`, other rules stand in `validation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec import defaults
from loadstone_core.spec.shape import Rule, matching
from loadstone_core.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping


def _first_value(stage: Mapping[str, Any]) -> int:
    return int(stage.get("users", stage.get("rate", 0)))


def _is_open(load: Mapping[str, Any]) -> bool:
    return "rate" in load or ("stages" in load and all("rate" in stage for stage in load["stages"]))


def _loads(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [spec["load"], *spec.get("scenarios", ())]


def _is_counted(load: Mapping[str, Any]) -> bool:
    return "iterations" in load or "iterationsPerUser" in load


def _longest_ns(spec: Mapping[str, Any]) -> int:
    """Return the longest time of a load, without what stands before its start."""
    return max(
        sum(parse_duration(part["duration"]) for part in (load, *load.get("stages", ())) if "duration" in part)
        for load in _loads(spec)
    )


def _follows_another(scenarios: list[Mapping[str, Any]]) -> bool:
    names = {each["name"] for each in scenarios}
    return all(each["startAfter"] in names - {each["name"]} for each in scenarios if "startAfter" in each)


def _has_a_beginning(scenarios: list[Mapping[str, Any]]) -> bool:
    """Tell whether each scenario is reached from one that waits for none."""
    after = {each["name"]: each.get("startAfter") for each in scenarios}
    reached: set[str | None] = {None}
    for _ in after:
        reached.update(name for name, other in after.items() if other in reached)
    return after.keys() <= reached


STAGE: Final = (
    Rule(
        message="a stage sets exactly one of users and rate",
        holds=lambda stage: ("users" in stage) != ("rate" in stage),
        cel="has(self.users) != has(self.rate)",
        needs=("users", "rate"),
    ),
)
STAGES: Final = (
    Rule(
        message="stages must all set users, or all set rate",
        holds=lambda stages: len({"users" in stage for stage in stages}) == 1,
        cel="!self.exists(stage, has(stage.users)) || !self.exists(stage, has(stage.rate))",
    ),
    Rule(
        message="at least one stage must ask for more than 0 users or iterations a second",
        holds=lambda stages: any(_first_value(stage) for stage in stages),
        cel="!self.all(stage, (has(stage.users) && stage.users == 0) || (has(stage.rate) && stage.rate == 0))",
    ),
)
_BESIDE_STAGES: Final = ("users", "rate", "duration", "iterations", "iterationsPerUser")
_OPEN_IN_CEL: Final = "has(self.rate) || (has(self.stages) && self.stages.all(stage, has(stage.rate)))"
_ENDS: Final = ("duration", "iterations", "iterationsPerUser", "stages")
_OF_A_MODEL: Final = (
    *_BESIDE_STAGES,
    "spawnRate",
    "stages",
    "preallocatedUsers",
    "maxUsers",
    "tags",
    "excludeTags",
    "shape",
)

MODEL: Final = (
    Rule(
        message="stages exclude users, rate, duration and iterations: each stage has a duration and users or rate",
        holds=lambda load: "stages" not in load or load.keys().isdisjoint(_BESIDE_STAGES),
        cel=f"!has(self.stages) || !({' || '.join(f'has(self.{name})' for name in _BESIDE_STAGES)})",
        needs=("stages", *_BESIDE_STAGES),
    ),
    Rule(
        message="users and rate exclude each other: set users (each waits for its own answers) or rate "
        "(iterations start whether or not earlier ones have ended)",
        holds=lambda load: not ("users" in load and "rate" in load),
        cel="!(has(self.users) && has(self.rate))",
        needs=("users", "rate"),
    ),
    Rule(
        message="iterations are shared among users and exclude rate; set rate and duration instead",
        holds=lambda load: not ("iterations" in load and "rate" in load),
        cel="!(has(self.iterations) && has(self.rate))",
        needs=("iterations", "rate"),
    ),
    Rule(
        message="iterationsPerUser is what each of users does; set users too, and leave iterations (of all users) out",
        holds=lambda load: "iterationsPerUser" not in load or ("users" in load and "iterations" not in load),
        cel="!has(self.iterationsPerUser) || (has(self.users) && !has(self.iterations))",
        needs=("iterationsPerUser", "users", "iterations"),
    ),
    Rule(
        message="preallocatedUsers and maxUsers are for an open model; set rate, or stages of rate",
        holds=lambda load: load.keys().isdisjoint(("preallocatedUsers", "maxUsers")) or _is_open(load),
        cel=f"!(has(self.preallocatedUsers) || has(self.maxUsers)) || {_OPEN_IN_CEL}",
        needs=("preallocatedUsers", "maxUsers", "rate", "stages"),
    ),
    Rule(
        message="preallocatedUsers must not exceed maxUsers",
        holds=lambda load: load.get("preallocatedUsers", 0) <= load.get("maxUsers", defaults.USERS_MOST),
        cel="!(has(self.preallocatedUsers) && has(self.maxUsers)) || self.preallocatedUsers <= self.maxUsers",
        needs=("preallocatedUsers", "maxUsers"),
    ),
    Rule(
        message="spawnRate says how fast users start; set users too, or leave spawnRate out",
        holds=lambda load: "spawnRate" not in load or "users" in load,
        cel="!has(self.spawnRate) || has(self.users)",
        needs=("spawnRate", "users"),
    ),
)
_BESIDE_A_SHAPE: Final = ("users", "rate", "iterations", "iterationsPerUser", "stages")
SHAPED: Final = (
    Rule(
        message="shape says how many users there are; leave users, rate, iterations, iterationsPerUser and stages out",
        holds=lambda load: "shape" not in load or load.keys().isdisjoint(_BESIDE_A_SHAPE),
        cel=f"!has(self.shape) || !({' || '.join(f'has(self.{name})' for name in _BESIDE_A_SHAPE)})",
        needs=("shape", *_BESIDE_A_SHAPE),
    ),
    Rule(
        message="shape needs duration: the longest that its load may take, such as duration: 30m",
        holds=lambda load: "shape" not in load or "duration" in load,
        cel="!has(self.shape) || has(self.duration)",
        needs=("shape", "duration"),
    ),
)
_MODELS: Final = ("users", "rate", "iterations", "stages")
SCENARIO: Final = (
    *MODEL,
    Rule(
        message="the scenario has no end: set duration, iterations, iterationsPerUser or stages, such as duration: 5m",
        holds=lambda load: not load.keys().isdisjoint(_ENDS),
        cel=" || ".join(f"has(self.{name})" for name in _ENDS),
        needs=_ENDS,
    ),
    Rule(
        message="the scenario has no load: set users, rate, iterations or stages, such as users: 50",
        holds=lambda load: not load.keys().isdisjoint(_MODELS),
        cel=" || ".join(f"has(self.{name})" for name in _MODELS),
        needs=_MODELS,
    ),
    Rule(
        message="startTime and startAfter exclude each other",
        holds=lambda load: not ("startTime" in load and "startAfter" in load),
        cel="!(has(self.startTime) && has(self.startAfter))",
        needs=("startTime", "startAfter"),
    ),
)
SCENARIOS: Final = (
    Rule(
        message="startAfter must be the name of another scenario",
        holds=_follows_another,
        cel="self.all(one, !has(one.startAfter) || "
        "(one.startAfter != one.name && self.exists(other, other.name == one.startAfter)))",
    ),
    Rule(message="startAfter goes round in a circle, so none of these scenarios would begin", holds=_has_a_beginning),
)
LOADS: Final = (
    Rule(
        message="paused would make users begin their iterationsPerUser anew; leave it false, or stop the run (stopRun)",
        holds=lambda spec: (
            not spec["load"].get("paused") or not any("iterationsPerUser" in one for one in _loads(spec))
        ),
        cel="!self.load.paused || !(has(self.load.iterationsPerUser) || "
        "(has(self.scenarios) && self.scenarios.exists(one, has(one.iterationsPerUser))))",
        needs=("scenarios", "load"),
    ),
    Rule(
        message="warmUp is a part of the time of a load, and a number of iterations has none; leave one of them out",
        holds=lambda spec: "warmUp" not in spec["load"] or not any(map(_is_counted, _loads(spec))),
        cel="!has(self.load.warmUp) || !(has(self.load.iterations) || has(self.load.iterationsPerUser) || "
        "(has(self.scenarios) && self.scenarios.exists(one, has(one.iterations) || has(one.iterationsPerUser))))",
        needs=("scenarios", "load"),
    ),
    Rule(
        message="warmUp must be shorter than the load, else nothing is left for the results",
        holds=lambda spec: "warmUp" not in spec["load"] or parse_duration(spec["load"]["warmUp"]) < _longest_ns(spec),
        cel="!has(self.load.warmUp) || !has(self.load.duration) || "
        "duration(self.load.warmUp) < duration(self.load.duration)",
        needs=("scenarios", "load"),
    ),
    Rule(
        message="scenarios have loads of their own; leave all of load out but target, gracefulStop, warmUp, "
        "tolerance and paused",
        holds=lambda spec: "scenarios" not in spec or spec["load"].keys().isdisjoint(_OF_A_MODEL),
        cel=f"!has(self.scenarios) || !({' || '.join(f'has(self.load.{name})' for name in _OF_A_MODEL)})",
        needs=("scenarios", "load"),
    ),
    Rule(
        message="the load has no end: set load.duration, iterations, iterationsPerUser or stages, such as duration: 5m",
        holds=lambda spec: "scenarios" in spec or not spec["load"].keys().isdisjoint(_ENDS),
        cel=" || ".join(("has(self.scenarios)", *(f"has(self.load.{name})" for name in _ENDS))),
        needs=("scenarios", "load"),
    ),
    Rule(
        message="there is no load: set load.users, rate, iterations or stages, such as users: 50, or scenarios",
        holds=lambda spec: "scenarios" in spec or not spec["load"].keys().isdisjoint((*_MODELS, "shape")),
        cel=" || ".join(("has(self.scenarios)", *(f"has(self.load.{name})" for name in (*_MODELS, "shape")))),
        needs=("scenarios", "load"),
    ),
    Rule(
        message="maxUsers must be at least workers.replicas, as every worker needs a user",
        holds=lambda spec: all(
            load.get("maxUsers", defaults.USERS_MOST) >= spec["workers"]["replicas"] for load in _loads(spec)
        ),
        cel="(!has(self.load.maxUsers) || self.load.maxUsers >= self.workers.replicas) && (!has(self.scenarios) || "
        "self.scenarios.all(one, !has(one.maxUsers) || one.maxUsers >= self.workers.replicas))",
        needs=("scenarios", "load", "workers"),
    ),
)
WORKERS: Final = (
    Rule(
        message="minAvailable must not exceed replicas",
        holds=lambda workers: workers.get("minAvailable", 1) <= workers["replicas"],
        cel="!has(self.minAvailable) || self.minAvailable <= self.replicas",
        needs=("minAvailable", "replicas"),
    ),
)
CLASS_NAME: Final = (matching(r"[A-Za-z_][A-Za-z0-9_]*", "must be the name of a class, such as Buyer"),)

"""The fields of a spec that say how much load there is, one load, or several scenarios.

Their rules stand in `load_rules`, the other fields in `fields`; what a load means belongs to `loadstone_core.load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_core.spec import defaults, load_rules, validation
from loadstone_core.spec.model import Ramp
from loadstone_core.spec.shape import UNSET, Flag, Listing, Record, Rule, Text, Whole
from loadstone_core.units import DURATION_MAX_LENGTH

if TYPE_CHECKING:
    from loadstone_core.spec.shape import Node


def duration(about: str, rules: tuple[Rule, ...] = validation.LONG_DURATION, default: Any = UNSET) -> Text:
    """Declare a duration: by default one that is longer than zero."""
    return Text(about=about, longest=DURATION_MAX_LENGTH, rules=rules, default=default)


_STAGE: Final = Record(
    about="One part of the load; exactly one of users and rate.",
    fields={
        "duration": duration("How long the stage takes, for example 30s or 5m."),
        "users": Whole(about="Virtual users at its end, all workers together.", least=0, most=defaults.USERS_MOST),
        "rate": Whole(
            about="Iterations started a second at its end, all workers together.", least=0, most=defaults.RATE_MOST
        ),
        "ramp": Text(
            about="Linear goes evenly from the previous stage's value (at first 0) to this one; Step jumps at once.",
            choices=tuple(ramp.value for ramp in Ramp),
            default=Ramp.LINEAR.value,
        ),
    },
    required=("duration",),
    rules=load_rules.STAGE,
)

_TARGET: Final = Text(
    about="Base URL that the script's relative paths are added to. Example: https://shop.example.com.",
    longest=2_048,
    rules=validation.TARGET,
)

_MODEL: Final[dict[str, Node]] = {
    "users": Whole(
        about=(
            "Virtual users, all workers together. Each waits for its own answers, so slow answers mean fewer "
            "requests (closed model). Example: 50."
        ),
        least=1,
        most=defaults.USERS_MOST,
    ),
    "spawnRate": Whole(
        about="Users started a second until all run; all at once if unset. Example: 25.",
        least=1,
        most=defaults.USERS_MOST,
    ),
    "rate": Whole(
        about=(
            "Iterations started a second, all workers together, however slow the answers are (open model, "
            "arrival rate). Example: 200."
        ),
        least=1,
        most=defaults.RATE_MOST,
    ),
    "duration": duration(
        "How long load runs, ramps included, from the moment when all workers start. Example: 30s, 5m, 1h30m."
    ),
    "iterations": Whole(
        about="Ends the run after so many iterations, all users (1 if unset) together. Example: 10000.",
        least=1,
        most=defaults.ITERATIONS_MOST,
        long=True,
    ),
    "iterationsPerUser": Whole(
        about="Ends each user after so many iterations, and the run after the last user. Example: 20.",
        least=1,
        most=defaults.ITERATIONS_PER_USER_MOST,
    ),
    "preallocatedUsers": Whole(
        about=(
            "With rate: users that are made before the load begins, so that none has to be made in haste; more are "
            "made when none is free. Example: 50. Default: none."
        ),
        least=1,
        most=defaults.USERS_MOST,
    ),
    "maxUsers": Whole(
        about=(
            "With rate: the most users, all workers together. Iterations that come due while all are busy are "
            "dropped and counted. Example: 500. Default: enough for iterations of 10s, at least 100 for each engine."
        ),
        least=1,
        most=defaults.USERS_MOST,
    ),
    "stages": Listing(
        about=(
            "Parts of the load one after another, instead of users, rate, duration and iterations. "
            "Example: [{duration: 1m, users: 100}, {duration: 5m, users: 100}, {duration: 30s, users: 0}]."
        ),
        items=_STAGE,
        fewest=1,
        most=defaults.STAGES_MOST,
        rules=load_rules.STAGES,
    ),
}

_TAGS: Final[dict[str, Node]] = {
    name: Listing(
        about=about,
        items=Text(about="A tag that a task of the script has.", shortest=1, longest=128),
        fewest=1,
        most=defaults.TAGS_MOST,
        distinct=True,
    )
    for name, about in {
        "tags": "Only tasks of the script with one of these tags are done. Example: [smoke]. Default: all tasks.",
        "excludeTags": "Tasks of the script with one of these tags are not done, whatever else they have. "
        "Example: [slow]. Default: none.",
    }.items()
}

LOAD: Final = Record(
    about=(
        "How much load, and how long: users (with spawnRate) or rate for a duration, a number of iterations, "
        "or stages. Example: {users: 50, spawnRate: 25, duration: 5m}. With scenarios: what they have in common."
    ),
    fields={
        "target": _TARGET,
        **_MODEL,
        **_TAGS,
        "shape": Record(
            about=(
                "Lets a class of the script, made with loadstone's Shape, say each second how many users there are, "
                "instead of users, rate, iterations and stages. Example: {maxUsers: 500}."
            ),
            fields={
                "maxUsers": Whole(
                    about="The most users that it may ask for, all workers together. Example: 500.",
                    least=1,
                    most=defaults.USERS_MOST,
                ),
            },
            required=("maxUsers",),
        ),
        "paused": Flag(
            about=(
                "True lets users go after their iterations and asks for none until it is false again; the time of the "
                "load stands still. It may be changed during a run, as may users, rate and spawnRate. Default: false."
            ),
            default=False,
        ),
        "warmUp": duration(
            "The first part of the load, for example 30s: what is measured in it is neither in the results nor seen by "
            "thresholds. It belongs to the duration. Default: none."
        ),
        "tolerance": Text(
            about=(
                "How much less than planned a run may do without being Inconclusive: of user-seconds, or of iterations "
                "with rate. A number of iterations has to be done in full. Example: 5%. Default: 1%."
            ),
            longest=8,
            rules=validation.SHARE,
        ),
        "gracefulStop": duration(
            "How long running iterations may take to finish when the load ends; 0s cuts them off. Default: 30s.",
            rules=validation.DURATION,
            default=defaults.GRACEFUL_STOP,
        ),
    },
    rules=(*load_rules.MODEL, *load_rules.SHAPED),
    default={},
)

_SCENARIO: Final = Record(
    about="One load of several: its own users or rate, its own time. The fields are those of load.",
    fields={
        "name": Text(
            about="Its name in status and results: lower-case letters, digits and dashes. Example: checkout.",
            shortest=1,
            longest=63,
            rules=validation.THRESHOLD_NAME,
        ),
        "user": Text(
            about="Name of the script's class that does it. Example: Buyer. Default: all classes by their weights.",
            shortest=1,
            longest=128,
            rules=load_rules.CLASS_NAME,
        ),
        "startTime": duration(
            "How long after the start of load it begins. Example: 2m. Default: 0s.", rules=validation.DURATION
        ),
        "startAfter": Text(
            about=(
                "Name of the scenario at whose end it begins: when that one's time is over or its iterations are done. "
                "Example: warm-cache."
            ),
            shortest=1,
            longest=63,
            rules=validation.THRESHOLD_NAME,
        ),
        "target": _TARGET,
        **_MODEL,
        **_TAGS,
        "gracefulStop": duration(
            "How long its running iterations may take to finish at its end. Default: load.gracefulStop.",
            rules=validation.DURATION,
        ),
    },
    required=("name",),
    rules=load_rules.SCENARIO,
)

SCENARIOS: Final = Listing(
    about=(
        "Several loads side by side or one after another, instead of users, rate, iterations, stages and "
        "duration of load. Example: [{name: browse, user: Visitor, users: 50, duration: 5m}, "
        "{name: checkout, user: Buyer, rate: 5, duration: 4m, startTime: 1m}]."
    ),
    items=_SCENARIO,
    fewest=1,
    most=defaults.SCENARIOS_MOST,
    key="name",
    rules=load_rules.SCENARIOS,
)

"""Find the causes of each row of the verdict's table in an ending, with sentences that say what to do.

In which order they count, and what each means, is the table in `outcome`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadstone_core.load.profile import Model
from loadstone_core.spec.defaults import SCENARIO
from loadstone_core.spec.model import OnNoData, Severity
from loadstone_core.units import format_share
from loadstone_core.verdict.evaluation import Answer
from loadstone_core.verdict.reasons import Cause, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.verdict.ending import Effort, Ending, ThresholdFinding

# Share of the seconds, in percent, in which the generator may be late before its numbers prove nothing.
SATURATED_PERCENT: Final = 10
# Lateness of a second (p99 of schedule slip or loop lag) from which on the generator counts as saturated in it.
SATURATED_LAG_NS: Final = 100_000_000
# Share of the requests, in parts per million, that may be unaccounted for.
UNACCOUNTED_PPM: Final = 1_000
_MILLION: Final = 1_000_000

STOPS: Final[Mapping[Reason, str]] = {
    Reason.STOPPED: "the run was stopped on request; its results cover the time until then",
    Reason.SUSPENDED: "the run was ended by spec.suspend; set it to false to start a new run",
    Reason.KILLED: "the run was killed: nothing could finish, teardown was not run; its results may lack a second",
    Reason.REPLACED: "the run was ended in favour of a newer one",
}

_MORE_LOAD: Final[Mapping[Model, str]] = {
    Model.USERS: "add workers or lower users",
    Model.RATE: "add workers or lower the rate",
    Model.ITERATIONS: "allow a longer duration or add users",
}


def find_stop(ending: Ending) -> tuple[Cause, ...]:
    """Return why somebody stopped the run."""
    return () if ending.stopped is None else (Cause(ending.stopped, ending.stop_message or STOPS[ending.stopped]),)


def find_errors(ending: Ending) -> tuple[Cause, ...]:
    """Return what kept the run from being run, or broke it: what was given, then what follows from the numbers."""
    errors = ending.errors
    # Whoever lost them may know more than the number.
    if _are_too_many_lost(ending) and Reason.WORKERS_LOST not in {cause.reason for cause in errors}:
        advice = "" if ending.first_loss else ", and give the workers more memory, or nodes that stay"
        message = f"{_lost(ending)}{advice}"
        errors += (Cause(Reason.WORKERS_LOST, message),)
    if (
        ending.load_ran
        and any(each.planned for each in ending.efforts)
        and ending.iterations <= ending.iterations_raised
    ):
        message = "no iteration was completed; see the top errors, and let the load last longer than one iteration"
        if ending.iterations:
            most = f", mostly {ending.raised_most}" if ending.raised_most else ""
            message = f"all of {_count(ending.iterations, 'iteration')} raised{most}; correct the script"
        errors += (Cause(Reason.SCRIPT_ERRORS, message),)
    return errors


def find_unreliable(ending: Ending) -> tuple[Cause, ...]:
    """Return the broken thresholds on failures and checks."""
    return tuple(_broken(each) for each in _deciding(ending) if each.is_broken and _is_on_failures(each))


def find_weak_generator(ending: Ending) -> tuple[Cause, ...]:
    """Return why the numbers prove nothing: a late generator, or too much that is not in them."""
    causes: tuple[Cause, ...] = ()
    if ending.saturated_seconds * 100 > ending.seconds * SATURATED_PERCENT:
        causes += (Cause(Reason.GENERATOR_SATURATED, _saturation(ending)),)
    if ending.unaccounted * _MILLION > ending.requests * UNACCOUNTED_PPM:
        message = (
            f"{_unaccounted(ending)} of {_count(ending.requests, 'request')} "
            f"({format_share(ending.unaccounted, ending.requests)}) "
            "are not in the results; see the problems of the workers, and run the test again"
        )
        causes += (Cause(Reason.RESULTS_INCOMPLETE, message),)
    return causes


def find_broken_thresholds(ending: Ending) -> tuple[Cause, ...]:
    """Return the other broken thresholds, then those without data that count as failed."""
    broken = [_broken(each) for each in _deciding(ending) if each.is_broken and not _is_on_failures(each)]
    return (*broken, *_without_data(ending, OnNoData.FAIL))


def find_regressions(ending: Ending) -> tuple[Cause, ...]:
    """Return what a baseline found."""
    return ending.regressions


def find_missing_load(ending: Ending) -> tuple[Cause, ...]:
    """Return that the load was not reached, then the thresholds without data that leave it open."""
    short = [each for each in ending.efforts if _is_short(each, ending.tolerance_ppm)]
    causes = [Cause(Reason.LOAD_NOT_REACHED, _missing_load(ending, each)) for each in short]
    return (*causes, *_without_data(ending, OnNoData.INCONCLUSIVE))


def find_nothing(ending: Ending) -> tuple[Cause, ...]:
    """Return that the run passed, and with what."""
    thresholds = _count(len(ending.thresholds), "threshold")
    held = sum(each.finding.answer is Answer.HELD for each in ending.thresholds)
    judged = f"{held} of {thresholds} held" if ending.thresholds else "there are no thresholds"
    if ending.failures and not ending.thresholds:
        judged += ", so failures decide nothing"
    failed = format_share(ending.failures, ending.requests) if ending.requests else "0%"
    message = (
        f"{judged}; {_count(ending.requests, 'request')}, {failed} failed; {'; '.join(map(_load, ending.efforts))}"
    )
    return (Cause(Reason.PASSED, message),)


def find_warnings(ending: Ending) -> list[Cause]:
    """Return what thresholds found and the table does not decide by."""
    warned = [each for each in ending.thresholds if each.severity is Severity.WARN]
    broken = [_broken(each) for each in warned if each.is_broken]
    passed = [each for each in _deciding(ending) if each.on_no_data is OnNoData.PASS]
    return broken + [_nothing_measured(each) for each in (*warned, *passed) if each.has_no_data]


def find_lost_workers(ending: Ending) -> list[Cause]:
    """Return that workers were lost, if they were too few to decide."""
    if not ending.workers_lost or _are_too_many_lost(ending):
        return []
    return [Cause(Reason.WORKER_DEGRADED, _lost(ending))]


def _saturation(ending: Ending) -> str:
    if not ending.exhausted_seconds:
        return (
            f"the load generator was over 100 ms late in {ending.saturated_seconds} of {ending.seconds} s, so a part "
            "of the latencies is its own; add workers, give them more CPU, or lower the load"
        )
    late = ending.saturated_seconds - ending.exhausted_seconds
    more = f", and was over 100 ms late in {late} others" if late else ""
    return (
        f"the load generator lacked ports, open files or memory for connections in {ending.exhausted_seconds} of "
        f"{ending.seconds} s{more}; the top errors say what, so add workers, raise that limit, or lower the load"
    )


def _deciding(ending: Ending) -> tuple[ThresholdFinding, ...]:
    return tuple(each for each in ending.thresholds if each.severity is Severity.FAIL)


def _is_on_failures(threshold: ThresholdFinding) -> bool:
    return threshold.expression.metric in {"failures", "checks"}


def _broken(threshold: ThresholdFinding) -> Cause:
    ended = "; it ended the run early" if threshold.has_aborted else ""
    message = f"{threshold.name}: {threshold.expression} did not hold, it was {threshold.finding.actual}{ended}"
    return Cause(Reason.THRESHOLDS_FAILED, message)


def _nothing_measured(threshold: ThresholdFinding) -> Cause:
    message = (
        f"{threshold.name}: nothing was measured for {threshold.expression}; correct the metric and its labels, "
        "or set onNoData: Pass"
    )
    return Cause(Reason.THRESHOLD_NO_DATA, message)


def _without_data(ending: Ending, on_no_data: OnNoData) -> tuple[Cause, ...]:
    return tuple(
        _nothing_measured(each) for each in _deciding(ending) if each.has_no_data and each.on_no_data is on_no_data
    )


def _are_too_many_lost(ending: Ending) -> bool:
    return ending.most_lost > ending.most_lost_allowed


def _unaccounted(ending: Ending) -> str:
    return f"at least {ending.unaccounted}" if ending.unaccounted_at_least else str(ending.unaccounted)


def _lost(ending: Ending) -> str:
    lost = f"lost {ending.workers_lost} of {_count(ending.workers, 'worker')}"
    if ending.workers_lost > ending.workers:
        lost = f"lost workers {ending.workers_lost} times"
    why = f": {ending.first_loss}" if ending.first_loss else "; see the problems of the workers"
    return f"{lost}{why}; {ending.relief}" if ending.relief else f"{lost}{why}"


def _is_short(effort: Effort, tolerance_ppm: int) -> bool:
    tolerance_ppm = 0 if effort.model is Model.ITERATIONS else tolerance_ppm
    return effort.achieved * _MILLION < effort.planned * (_MILLION - tolerance_ppm)


def _missing_load(ending: Ending, effort: Effort) -> str:
    dropped = f", {effort.dropped} dropped" if effort.dropped else ""
    advice = _MORE_LOAD[effort.model]
    if ending.workers_lost:
        advice = _lost(ending)
    elif ending.used_up:
        advice = f"users ended when all rows of {', '.join(ending.used_up)} were used up; add rows or set loop=True"
    return f"{_load(effort)}{dropped}; {advice}"


def _load(effort: Effort) -> str:
    unit = "user-seconds" if effort.model is Model.USERS else "iterations"
    who = "" if effort.scenario == SCENARIO else f"scenario {effort.scenario} "
    # Rounded down: what fell short by a hair must not read 100 %.
    share = f" ({1000 * effort.achieved // effort.planned / 10:g} %)" if effort.planned else ""
    return f"{who}achieved {round(effort.achieved)} of {round(effort.planned)} {unit}{share}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

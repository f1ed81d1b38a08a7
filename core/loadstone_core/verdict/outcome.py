"""Conclude from everything known about a run's end what it means: one table, the first row that applies.

How each cause is found in an ending is known by `causes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadstone_core.verdict.causes import (
    STOPS,
    find_broken_thresholds,
    find_errors,
    find_lost_workers,
    find_missing_load,
    find_nothing,
    find_regressions,
    find_stop,
    find_unreliable,
    find_warnings,
    find_weak_generator,
)
from loadstone_core.verdict.ending import Ending, ThresholdFinding
from loadstone_core.verdict.reasons import Cause, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "EXIT_CODES",
    "NOTES",
    "RULES",
    "Cause",
    "Ending",
    "Outcome",
    "Reason",
    "Rule",
    "ThresholdFinding",
    "Verdict",
    "conclude",
]

_ERROR_ROW: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict with its reason and sentence, and every finding, whatever row won."""

    verdict: Verdict
    reason: Reason
    exit_code: int
    message: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: it applies if `find` gives a cause, and the first of them is the reason.

    Attributes:
        row: its number, from 1.
        cause: what it is about, for people.
        verdict: of a run to which it is the first to apply.
        exit_code: of the command line then.
        reasons: those that it can give.
        find: returns everything in an ending that it is about, the weightiest first.
    """

    row: int
    cause: str
    verdict: Verdict
    exit_code: int
    reasons: tuple[Reason, ...]
    find: Callable[[Ending], tuple[Cause, ...]]


def conclude(ending: Ending) -> Outcome:
    """Return what a run means: by the first row of `RULES` that applies."""
    found = [(rule, rule.find(ending)) for rule in RULES]
    won, causes = next((rule, causes) for rule, causes in found if causes)
    more = f" ({len(causes) - 1} more in the findings)" if len(causes) > 1 else ""
    return Outcome(
        verdict=won.verdict,
        reason=causes[0].reason,
        exit_code=won.exit_code,
        message=causes[0].message + more,
        findings=tuple(dict.fromkeys(str(cause) for cause in _listed(ending, won, found))),
    )


def _listed(ending: Ending, won: Rule, found: list[tuple[Rule, tuple[Cause, ...]]]) -> list[Cause]:
    """Return all causes in the order of the table, then what decides nothing; that a run passed is no finding."""
    # Without load there are no results, and what they lack is no news beside the reason why there was no load.
    last_row = RULES[-2].row if ending.load_ran else max(won.row, _ERROR_ROW)
    listed = [cause for rule, causes in found if rule.row <= last_row and rule is not RULES[-1] for cause in causes]
    if ending.load_ran:
        listed += find_warnings(ending)
    return [*listed, *find_lost_workers(ending), *ending.notes]


RULES: Final = (
    Rule(1, "somebody stopped it", Verdict.ABORTED, 130, tuple(STOPS), find_stop),
    Rule(
        2,
        "it could not be run, or broke",
        Verdict.ERROR,
        1,
        (
            Reason.SPEC_INVALID,
            Reason.TEMPLATE_INVALID,
            Reason.SOURCE_NOT_FOUND,
            Reason.SCRIPT_INVALID,
            Reason.SCRIPT_ERRORS,
            Reason.SETUP_FAILED,
            Reason.PREFLIGHT_FAILED,
            Reason.CLASS_DENIED,
            Reason.QUOTA_EXCEEDED,
            Reason.UNSCHEDULABLE,
            Reason.IMAGE_PULL,
            Reason.STARTUP_TIMEOUT,
            Reason.CONFIG_CONFLICT,
            Reason.DIRECTOR_LOST,
            Reason.MASTER_LOST,
            Reason.WORKERS_LOST,
            Reason.WORKER_OOM,
            Reason.HANDLER_FAILED,
            Reason.DEADLINE_EXCEEDED,
            Reason.OPERATOR_ERROR,
        ),
        find_errors,
    ),
    Rule(
        3,
        "a threshold of severity Fail on failures or checks broke",
        Verdict.FAILED,
        99,
        (Reason.THRESHOLDS_FAILED,),
        find_unreliable,
    ),
    Rule(
        4,
        "the generator was saturated, or samples beyond 0.1 % are unaccounted",
        Verdict.INCONCLUSIVE,
        97,
        (Reason.GENERATOR_SATURATED, Reason.RESULTS_INCOMPLETE),
        find_weak_generator,
    ),
    Rule(
        5,
        "any other threshold of severity Fail broke, or had no data with onNoData Fail",
        Verdict.FAILED,
        99,
        (Reason.THRESHOLDS_FAILED, Reason.THRESHOLD_NO_DATA),
        find_broken_thresholds,
    ),
    Rule(
        6,
        "a baseline of severity Fail regressed",
        Verdict.FAILED,
        98,
        (Reason.BASELINE_REGRESSED,),
        find_regressions,
    ),
    Rule(
        7,
        "achieved below planned by more than the tolerance; no data with onNoData Inconclusive",
        Verdict.INCONCLUSIVE,
        97,
        (Reason.LOAD_NOT_REACHED, Reason.THRESHOLD_NO_DATA),
        find_missing_load,
    ),
    Rule(8, "otherwise", Verdict.PASSED, 0, (Reason.PASSED,), find_nothing),
)

NOTES: Final = (
    Reason.LOGS_INCOMPLETE,
    Reason.HANDLER_ERRORS,
    Reason.WORKER_DEGRADED,
    Reason.MEMORY_HIGH,
    Reason.SERIES_LIMITED,
    Reason.TARGET_STALLED,
    Reason.MASTER_RESTARTED,
)

# The exit code of each verdict by its first row; a regression alone exits otherwise: `Outcome.exit_code` counts.
EXIT_CODES: Final[Mapping[Verdict, int]] = {rule.verdict: rule.exit_code for rule in reversed(RULES)}

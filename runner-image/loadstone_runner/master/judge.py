"""Judge a run's thresholds while it runs and at its end. Pure.

What an expression means is core's; what an answer does to the verdict is core's too.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from loadstone_core.clock import rfc3339
from loadstone_core.units import SECOND
from loadstone_core.verdict.ending import ThresholdFinding
from loadstone_core.verdict.evaluation import NO_DATA, Answer, Finding, evaluate, read, should_abort
from loadstone_core.verdict.expression import parse_expression
from loadstone_core.verdict.windows import WindowKeeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_core.spec.model import ThresholdSpec
    from loadstone_core.verdict.evaluation import Measured
    from loadstone_core.verdict.expression import Expression


@dataclass(slots=True)
class _Case:
    """One threshold and what is known of it."""

    spec: ThresholdSpec
    expression: Expression
    keeper: WindowKeeper | None
    finding: Finding = NO_DATA
    first_breach_ns: int | None = None  # since the start of load
    broken_since_ns: int | None = None
    has_aborted: bool = False


class Judge:
    """The thresholds of one run, in the order of the spec; their expressions are valid.

    Attributes:
        idle_ns: how long the run was paused so far: it is no time in which anything could have happened.
    """

    def __init__(self, thresholds: Iterable[ThresholdSpec], warm_up_ns: int = 0) -> None:
        """Begin to judge after the warm-up; seconds of it are passed over."""
        self.idle_ns = 0
        self._warm_up_ns = warm_up_ns
        self._cases = [_open(each) for each in thresholds]

    def observe(self, second: int, measured: Measured, *, may_abort: bool) -> str | None:
        """Judge everything measured up to the end of a second of load; `may_abort` while the load still runs.

        Returns:
            The name of the first threshold that ends the run now, or None.
        """
        if second * SECOND < self._warm_up_ns:
            return None
        first = -(-self._warm_up_ns // SECOND)
        since_start_ns = (second + 1) * SECOND
        elapsed_ns = max(0, since_start_ns - self._warm_up_ns - self.idle_ns)
        aborting = None
        for case in self._cases:
            if case.keeper is not None:
                case.keeper.observe(second - first, read(case.expression, measured))
            self._settle(case, _find(case, measured, elapsed_ns), since_start_ns)
            if (
                may_abort
                and aborting is None
                and should_abort(
                    case.spec, case.finding, since_start_ns=since_start_ns, broken_since_ns=case.broken_since_ns
                )
            ):
                case.has_aborted = True
                aborting = case.spec.name
        return aborting

    def remember(self) -> dict[str, Any]:
        """Return what `recall` needs, as JSON has it."""
        return {case.spec.name: _remember(case) for case in self._cases}

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another judge of the same thresholds was; windows that were open there are skipped."""
        for case in self._cases:
            _recall(case, held[case.spec.name])

    def skip(self) -> None:
        """Leave out the windows that a reported loss touches."""
        for case in self._cases:
            if case.keeper is not None:
                case.keeper.skip()

    def conclude(self, measured: Measured, *, elapsed_ns: int) -> tuple[ThresholdFinding, ...]:
        """Judge the whole run, `elapsed_ns` long after its warm-up, and return every threshold's final answer."""
        for case in self._cases:
            self._settle(case, _find(case, measured, elapsed_ns), elapsed_ns + self._warm_up_ns)
        return tuple(
            ThresholdFinding(
                name=case.spec.name,
                expression=case.expression,
                severity=case.spec.severity,
                on_no_data=case.spec.on_no_data,
                finding=case.finding,
                has_aborted=case.has_aborted,
            )
            for case in self._cases
        )

    def to_status(self, *, is_over: bool, load_started_ns: int) -> list[dict[str, Any]]:
        """Return `status.thresholds`; `load_started_ns` is the wall clock's, for `firstBreachAt`."""
        return [_status(case, is_over=is_over, load_started_ns=load_started_ns) for case in self._cases]

    @staticmethod
    def _settle(case: _Case, finding: Finding, since_start_ns: int) -> None:
        case.finding = finding
        if finding.answer is not Answer.BROKEN:
            case.broken_since_ns = None
            return
        if case.broken_since_ns is None:
            case.broken_since_ns = since_start_ns
        if case.first_breach_ns is None:
            case.first_breach_ns = since_start_ns


def _open(spec: ThresholdSpec) -> _Case:
    expression = parse_expression(spec.expr)
    return _Case(spec, expression, None if expression.over_ns is None else WindowKeeper(expression))


def _remember(case: _Case) -> dict[str, Any]:
    value = case.finding.actual_value
    return {
        "answer": case.finding.answer.value,
        "actual": case.finding.actual,
        "value": None if value is None else str(value),
        "first_breach_ns": case.first_breach_ns,
        "broken_since_ns": case.broken_since_ns,
        "has_aborted": case.has_aborted,
        "now": case.keeper.now if case.keeper is not None else 0,
    }


def _recall(case: _Case, held: Mapping[str, Any]) -> None:
    value = None if held["value"] is None else Fraction(held["value"])
    case.finding = Finding(Answer(held["answer"]), held["actual"], value)
    case.first_breach_ns, case.broken_since_ns = held["first_breach_ns"], held["broken_since_ns"]
    case.has_aborted = held["has_aborted"]
    if case.keeper is not None:
        case.keeper.recall(held["now"], case.finding)


def _find(case: _Case, measured: Measured, elapsed_ns: int) -> Finding:
    if case.keeper is not None:
        return case.keeper.finding
    return evaluate(case.expression, measured, elapsed_ns=elapsed_ns)


def _status(case: _Case, *, is_over: bool, load_started_ns: int) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": case.spec.name,
        "expr": case.spec.expr,
        "verdict": _verdict(case, is_over=is_over),
        "actual": case.finding.actual,
        "severity": case.spec.severity.value,
    }
    if case.first_breach_ns is not None and load_started_ns:
        status["firstBreachAt"] = rfc3339(load_started_ns + case.first_breach_ns)
    return status


def _verdict(case: _Case, *, is_over: bool) -> str:
    if case.has_aborted or case.finding.answer is Answer.BROKEN:
        return "Failed"
    if case.finding.answer is Answer.HELD:
        return "Passed"
    return "NoData" if is_over else "Pending"

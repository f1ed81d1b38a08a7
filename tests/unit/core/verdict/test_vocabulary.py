"""What thresholds may ask for."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.stats.metrics import BUILT_IN, DERIVED, Kind
from loadstone_core.verdict.vocabulary import COUNTER_METRICS, TIME_METRICS, Op, Unit, is_built_in, units_of


@pytest.mark.parametrize(
    ("op", "held"),
    [
        (Op.LESS, (True, False, False)),
        (Op.LESS_OR_EQUAL, (True, True, False)),
        (Op.GREATER, (False, False, True)),
        (Op.GREATER_OR_EQUAL, (False, True, True)),
        (Op.EQUAL, (False, True, False)),
    ],
)
@given(wanted=st.fractions())
def test_a_comparison_holds_below_at_and_above_as_it_says(op, held, wanted):
    hair = Fraction(1, 10**20)

    assert tuple(op.holds(actual, wanted) for actual in (wanted - hair, wanted, wanted + hair)) == held


def test_every_metric_that_is_recorded_can_be_asked_for():
    assert all(is_built_in(metric) for metric in {*BUILT_IN, *DERIVED})
    assert {metric for metric, kind in BUILT_IN.items() if kind is Kind.TREND} == TIME_METRICS
    assert {metric for metric, kind in BUILT_IN.items() if kind is Kind.COUNTER} == COUNTER_METRICS - DERIVED


def test_a_time_can_be_asked_for_in_units_of_time_only():
    assert {unit for units in units_of("latency").values() for unit in units} == {u for u in Unit if u.is_time}


def test_a_metric_of_the_script_may_be_of_any_kind():
    assert not is_built_in("orders")
    assert set(units_of("orders")) >= {"count", "rate", "value"}

"""Laws of the one function that moves a run on."""

from functools import reduce
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.lifecycle.machine import advance
from loadstone_core.lifecycle.phases import Phase

phases = st.sampled_from(Phase)


@pytest.mark.parametrize(("held", "seen"), list(product(Phase, Phase)))
def test_a_run_never_goes_back(held, seen):
    assert advance(held, seen).order >= held.order


@pytest.mark.parametrize(("held", "seen"), list(product(Phase, Phase)))
def test_what_comes_out_is_what_was_held_or_what_was_seen(held, seen):
    assert advance(held, seen) in {held, seen}


@given(phases, phases)
def test_the_same_look_twice_moves_once(held, seen):
    once = advance(held, seen)

    assert advance(once, seen) is once


@pytest.mark.parametrize("end", [Phase.FINISHED, Phase.SUSPENDED])
@pytest.mark.parametrize("seen", Phase)
def test_a_terminal_phase_stays(end, seen):
    assert advance(end, seen) is end


def test_running_and_paused_alternate():
    assert advance(Phase.RUNNING, Phase.PAUSED) is Phase.PAUSED
    assert advance(Phase.PAUSED, Phase.RUNNING) is Phase.RUNNING


@given(st.lists(phases.filter(lambda phase: phase.order < Phase.FINISHED.order and phase is not Phase.PAUSED)))
def test_looks_in_any_order_end_at_the_furthest_one(looks):
    furthest = max([Phase.PENDING, *looks], key=lambda phase: phase.order)

    assert reduce(advance, looks, Phase.PENDING) is furthest

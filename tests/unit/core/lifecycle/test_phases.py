"""The order of the phases."""

from loadstone_core.lifecycle.phases import Phase


def test_phases_are_in_the_order_in_which_a_run_meets_them():
    assert sorted(Phase, key=lambda phase: phase.order) == list(Phase)


def test_only_running_and_paused_and_the_two_ends_share_a_place():
    shared = {
        frozenset({one, other}) for one in Phase for other in Phase if one is not other and one.order == other.order
    }

    assert shared == {frozenset({Phase.RUNNING, Phase.PAUSED}), frozenset({Phase.FINISHED, Phase.SUSPENDED})}


def test_a_run_ends_finished_or_suspended_and_nowhere_else():
    assert {phase for phase in Phase if phase.is_terminal} == {Phase.FINISHED, Phase.SUSPENDED}

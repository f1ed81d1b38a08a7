"""What a follower that is not in a hurry for figures must still hear at once."""

from dataclasses import replace
from typing import Any

import pytest

from loadstone_protocol.views import ProgressView, RunView, TimesView, WorkerView, differ_in_figures

WORKER = WorkerView(worker=0, attempt=1, state="running", pod="a-w-1-0-1", reason="", message="", exit_code=0, users=10)
VIEW = RunView(run_uid="u/1", epoch=1, sequence=7, stage="running", workers=(WORKER,))


@pytest.mark.parametrize(
    "moved",
    [
        {},
        {"sequence": 8},
        {"progress": ProgressView(requests=5)},
        {"thresholds_json": b"[1]"},
        {"workers": (replace(WORKER, users=11),)},
    ],
)
def test_what_moves_all_the_time_is_a_figure(moved: dict[str, Any]) -> None:
    assert differ_in_figures(VIEW, replace(VIEW, **moved))


@pytest.mark.parametrize(
    "moved",
    [
        {"stage": "stopping"},
        {"findings": ("WorkersLost: one",)},
        {"times": TimesView(load_stopped_ns=1)},
        {"waiting_for": "a worker"},
        {"workers": ()},
        {"workers": (WORKER, WORKER)},
        {"workers": (replace(WORKER, state="lost", users=0),)},
    ],
)
def test_whatever_somebody_may_act_on_is_news(moved: dict[str, Any]) -> None:
    assert not differ_in_figures(VIEW, replace(VIEW, **moved))

"""Of a run whose pods could only be made in part nothing goes on that the status does not speak of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.operator.runs import MASTER, NEW, RUN, end_of, pod
from tests.unit.operator.shell import Operator, run

from loadstone_core.errors import Problem
from loadstone_core.lifecycle.phases import Phase
from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator.actions import DeletePods, Refuse
from loadstone_operator.decision import decide
from loadstone_operator.observation import CreationProblem, Observation, Rejected
from loadstone_operator.permission import Capacity, ClassView, SourceState, SourceView
from loadstone_operator.ports import CreationFailed

if TYPE_CHECKING:
    from loadstone_operator.manifests.order import RunOrder

QUOTA = CreationProblem(Reason.QUOTA_EXCEEDED, "exceeded quota", is_fatal=False)
PENDING = replace(NEW, held=replace(RUN, phase=Phase.PENDING), creation=QUOTA, creation_seconds=3.0)
IN_PART = (MASTER, pod(0))
REFUSED = (
    ({"spec": Rejected((Problem("spec.load", "is missing"),))}, Reason.SPEC_INVALID),
    ({"governing": ClassView("gone", missing="There is no such class.", seconds_missing=9.0)}, Reason.SPEC_INVALID),
    ({"source": SourceView(SourceState.MISSING, "no ConfigMap", seconds_missing=9.0)}, Reason.SOURCE_NOT_FOUND),
    ({"capacity": Capacity(refused="too many")}, Reason.QUOTA_EXCEEDED),
)


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_what_is_refused_after_some_pods_were_made_ends_and_takes_them_with_it(
    change: dict[str, Any], reason: Reason
) -> None:
    seen: Observation = replace(PENDING, pods=IN_PART, **change)
    decision = decide(seen)

    assert (end_of(decision).run, end_of(decision).outcome.reason) == (1, reason)
    assert decision.actions == (DeletePods(tuple((each.name, each.uid) for each in IN_PART)),)


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_what_is_refused_before_a_pod_was_made_has_run_nothing(change: dict[str, Any], reason: Reason) -> None:
    decision = decide(replace(PENDING, **change))

    assert isinstance(decision.update, Refuse)
    assert decision.update.outcome.reason == reason
    assert decision.actions == ()


@pytest.mark.promise("quota")
def test_a_run_that_a_quota_allows_in_part_leaves_no_pod_behind_when_its_edited_spec_is_invalid() -> None:
    async def story() -> None:
        operator = Operator()
        make = operator.cluster.make_children

        async def make_in_part(order: RunOrder, workers: int) -> list[dict[str, Any]]:
            raise CreationFailed(QUOTA, await make(order, workers - 1))

        operator.cluster.make_children = make_in_part  # type: ignore[method-assign]
        await operator.hear(operator.cluster.put("checkout", workers={"replicas": 2, "minAvailable": 1}))
        for name in list(operator.cluster.pods):
            operator.pod(name, phase="Running", podIP="10.0.0.1")
        await operator.look()
        assert (operator.status()["phase"], len(operator.cluster.pods)) == ("Pending", 2)
        await operator.hear(operator.cluster.put("checkout", generation=2, workers={"replicas": 2, "minAvailable": 3}))
        await operator.look()

        assert (operator.status()["verdict"], operator.status()["reason"]) == (Verdict.ERROR, "SpecInvalid")
        assert operator.status()["run"]["number"] == 1
        assert operator.cluster.pods == {}

    run(story())

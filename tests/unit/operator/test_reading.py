import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.verdict.outcome import Reason, Verdict
from loadstone_operator import naming
from loadstone_operator.cluster.cluster import creation_problem
from loadstone_operator.cluster.errors import Conflict, Forbidden, Invalid, NotFound, Unreachable, api_error
from loadstone_operator.cluster.reading import owner_of, read_pod, trim_pod


def pod(**status: Any) -> dict[str, Any]:
    labels = {naming.LABEL_ROLE: "worker", naming.LABEL_RUN: "2", naming.LABEL_WORKER: "1", naming.LABEL_ATTEMPT: "1"}
    return {"metadata": {"name": "checkout-w-2-1-1", "uid": "u", "labels": labels}, "spec": {}, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"name": "engine", "image": "shop:1", "state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("container", "reason", "patience"),
    [
        (waiting("ErrImagePull", "not found"), Reason.IMAGE_PULL, 45.0),
        (waiting("ImagePullBackOff"), Reason.IMAGE_PULL, 45.0),
        (waiting("RegistryUnavailable"), Reason.IMAGE_PULL, 45.0),
        (waiting("InvalidImageName"), Reason.IMAGE_PULL, 0.0),
        (waiting("ErrImageNeverPull"), Reason.IMAGE_PULL, 0.0),
        (waiting("CreateContainerConfigError", 'secret "shop" not found'), Reason.SOURCE_NOT_FOUND, 5.0),
        (waiting("CreateContainerConfigError", "couldn't find key a in ConfigMap"), Reason.SOURCE_NOT_FOUND, 5.0),
        (waiting("CreateContainerConfigError", "image will run as root"), Reason.TEMPLATE_INVALID, 5.0),
        (waiting("CreateContainerError", "no such file"), Reason.TEMPLATE_INVALID, 10.0),
        (
            {"name": "engine", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}},
            Reason.WORKER_OOM,
            3.0,
        ),
    ],
)
def test_what_keeps_a_container_from_running_is_told_with_its_name(container, reason, patience) -> None:
    problem = read_pod(pod(containerStatuses=[container])).problem

    assert problem is not None
    assert (problem.reason, problem.patience_seconds) == (reason, patience)
    assert "checkout-w-2-1-1" in problem.message


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "CrashLoopBackOff"])
def test_a_container_that_is_on_its_way_is_no_problem(reason: str) -> None:
    assert read_pod(pod(containerStatuses=[waiting(reason)])).problem is None


def test_a_pod_without_a_node_is_told_with_the_schedulers_words() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient cpu."}
    problem = read_pod(pod(conditions=[condition])).problem

    assert problem is not None
    assert problem.reason == Reason.UNSCHEDULABLE
    assert "Insufficient cpu" in problem.message


def test_the_end_of_an_engine_is_read_with_what_disrupted_it() -> None:
    terminated = {"state": {"terminated": {"reason": "Error", "exitCode": 143, "message": "bye\n"}}}
    end = read_pod(pod(phase="Failed", containerStatuses=[terminated])).end
    assert end is not None
    assert (end.reason, end.message, end.exit_code) == ("Error", "bye", 143)

    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    evicted = read_pod(pod(phase="Failed", containerStatuses=[terminated], conditions=[target])).end
    assert evicted is not None
    assert evicted.reason == "EvictionByEvictionAPI"


def test_a_pod_that_failed_without_a_container_ended_too() -> None:
    end = read_pod(pod(phase="Failed", reason="Evicted", message="The node was low on memory.")).end

    assert end is not None
    assert (end.reason, end.exit_code) == ("Evicted", 1)


def master(message: str) -> dict[str, Any]:
    body = pod(
        initContainerStatuses=[{"name": "master", "restartCount": 1, "lastState": {"terminated": {"message": message}}}]
    )
    body["metadata"]["labels"] = {naming.LABEL_ROLE: "master", naming.LABEL_RUN: "1", naming.LABEL_EPOCH: "1"}
    return body


def test_a_verdict_in_the_masters_last_words_is_one() -> None:
    said = json.dumps(
        {"verdict": "Failed", "reason": "ThresholdsFailed", "message": "slow", "exitCode": 99, "requests": 7}
    )
    view = read_pod(master(said))

    assert view.trusted_restarts == 1
    assert view.last_outcome is not None
    assert (view.last_outcome.verdict, view.last_outcome.exit_code) == (Verdict.FAILED, 99)
    assert view.last_outcome.results == {"requests": 7}
    assert view.last_outcome.has_report is False


def test_a_verdict_is_read_from_last_words_of_any_length_that_a_kubelet_hands_on() -> None:
    word = {"verdict": "Error", "reason": "ScriptInvalid", "message": "", "exitCode": 2, "requests": 7}
    message = "x" * (4_096 - len(json.dumps(word)))
    view = read_pod(master(json.dumps({**word, "message": message})))

    assert view.last_outcome is not None
    assert (view.last_outcome.verdict, view.last_outcome.reason) == (Verdict.ERROR, Reason.SCRIPT_INVALID)
    assert view.last_outcome.message.startswith(message)


def test_of_last_words_without_a_verdict_the_end_is_shown() -> None:
    said = f"Traceback {'x' * 4_000} KeyError: 'users'"

    assert read_pod(master(said)).last_words == said[-1_024:]


@pytest.mark.parametrize("said", ["Traceback (most recent call last)", "{", '{"verdict": "Great"}', "[]", '{"a": 1}'])
def test_other_last_words_are_kept_as_they_are(said: str) -> None:
    view = read_pod(master(said))

    assert view.last_outcome is None
    assert view.last_words == said


@given(st.dictionaries(st.sampled_from([naming.LABEL_RUN, naming.LABEL_WORKER, naming.LABEL_EPOCH]), st.text()))
def test_strange_labels_are_read_as_their_defaults(labels: dict[str, str]) -> None:
    body = pod()
    body["metadata"]["labels"] = labels

    assert read_pod(body).role == ""


def test_an_owner_is_a_loadtest_and_nothing_else() -> None:
    references = [
        {"apiVersion": "v1", "kind": "LoadTest", "uid": "fake"},
        {"apiVersion": "loadstone.dev/v1alpha1", "kind": "LoadTest", "uid": "real"},
    ]

    assert owner_of({"metadata": {"ownerReferences": references}}) == "real"
    assert owner_of({"metadata": {"ownerReferences": references[:1]}}) == ""
    assert owner_of({"metadata": {}}) == ""


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, Invalid),
        (429, Unreachable),
        (503, Unreachable),
    ],
)
def test_an_answer_is_an_error_with_the_servers_own_sentence(status: int, kind: type) -> None:
    error = api_error(status, json.dumps({"message": "because", "reason": "Why"}), "fallback")

    assert type(error) is kind
    assert (str(error), error.status) == ("because", status)
    assert str(api_error(status, "<html>", "fallback")) == "fallback"


@pytest.mark.parametrize(
    ("status", "message", "reason", "is_fatal"),
    [
        (403, 'pods "a" is forbidden: exceeded quota: small, requested: pods=1', Reason.QUOTA_EXCEEDED, False),
        (403, 'pods is forbidden: User "system:x" cannot create resource "pods"', Reason.OPERATOR_ERROR, False),
        (403, 'violates PodSecurity "restricted:latest"', Reason.TEMPLATE_INVALID, True),
        (403, "no PriorityClass with name high was found", Reason.TEMPLATE_INVALID, True),
        (403, "namespace shop is being terminated", Reason.OPERATOR_ERROR, False),
        (422, "Invalid value: must be less than or equal to cpu limit", Reason.TEMPLATE_INVALID, True),
        (404, "namespaces not found", Reason.OPERATOR_ERROR, False),
    ],
)
def test_a_refused_creation_means_one_thing_for_the_run(status, message, reason, is_fatal) -> None:
    problem = creation_problem(api_error(status, json.dumps({"message": message}), ""))

    assert (problem.reason, problem.is_fatal) == (reason, is_fatal)
    assert message in problem.message


def test_a_trimmed_pod_reads_as_the_whole_one() -> None:
    whole = {
        "metadata": {
            "name": "a",
            "uid": "u",
            "namespace": "shop",
            "resourceVersion": "7",
            "labels": {"loadstone.dev/role": "worker", "loadstone.dev/run": "2"},
            "annotations": {"heavy": "x" * 1000},
            "managedFields": [{"manager": "kubelet"}],
            "deletionTimestamp": "2026-11-21T00:00:00Z",
            "ownerReferences": [{"kind": "LoadTest", "apiVersion": "loadstone.dev/v1alpha1", "uid": "t"}],
        },
        "spec": {"nodeName": "node0", "containers": [{"name": "engine"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    trimmed = trim_pod(whole)

    assert read_pod(trimmed) == read_pod(whole)
    assert read_pod(whole).gone_by_ns == 1_795_219_200 * 10**9
    assert (owner_of(trimmed), trimmed["metadata"]["resourceVersion"]) == ("t", "7")
    assert "heavy" not in str(trimmed)
    assert "containers" not in str(trimmed)

"""Read pods, as the API server shows them, into values. Every string of Kubernetes that means something is here.

What follows from what was read is decided elsewhere.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.units import SECOND, parse_duration
from loadstone_core.verdict.outcome import EXIT_CODES, Reason, Verdict
from loadstone_operator import naming
from loadstone_operator.observation import DEFAULT_LEASE_NS, TERMINAL_PHASES, ContainerEnd, Outcome, PodProblem, PodView

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEAVY_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
_PULL_FAILURES: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)
# Nothing that the cluster does by itself can mend these.
_PULL_HOPELESS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
_CONFIG_FAILURE: Final = "CreateContainerConfigError"
_CREATE_FAILURES: Final = frozenset(
    {
        "CreateContainerError",
        "RunContainerError",
        "ContainerCannotRun",
        "StartError",
        "PreCreateHookError",
        "PreStartHookError",
    }
)
# A kubelet tries again 10 s and 30 s after the first failure: a registry may be away for a moment.
_PULL_PATIENCE_SECONDS: Final = 45.0
_CREATE_PATIENCE_SECONDS: Final = 10.0
_CONFIG_PATIENCE_SECONDS: Final = 5.0
# The master knows more, if an agent was left to tell it.
_OOM_PATIENCE_SECONDS: Final = 3.0
# Of what people are shown of a termination message, which has up to 4,096 bytes.
_SHOWN_LONGEST: Final = 1_024


def read_pod(body: Mapping[str, Any]) -> PodView:
    """Return what matters of one managed pod; fields that are missing or odd are read as their defaults."""
    metadata, spec, status = body.get("metadata", {}), body.get("spec", {}), body.get("status", {})
    labels = metadata.get("labels", {})
    trusted: Mapping[str, Any] = next(iter(status.get("initContainerStatuses") or ()), {})
    user_code: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    name = str(metadata.get("name", ""))
    words = _last_words(trusted)
    return PodView(
        name=name,
        uid=str(metadata.get("uid", "")),
        role=str(labels.get(naming.LABEL_ROLE, "")),
        run=_number(labels.get(naming.LABEL_RUN)),
        worker=_number(labels.get(naming.LABEL_WORKER)),
        attempt=_number(labels.get(naming.LABEL_ATTEMPT), default=1),
        epoch=_number(labels.get(naming.LABEL_EPOCH)),
        is_sole=labels.get(naming.LABEL_SOLE) == "true" or _number(labels.get(naming.LABEL_EPOCH)) == 1,
        authority=str(labels.get(naming.LABEL_AUTHORITY, "")),
        lease_ns=_lease_ns(labels.get(naming.LABEL_LEASE)),
        phase=str(status.get("phase", "Pending")),
        ip=str(status.get("podIP", "")),
        node=str(spec.get("nodeName", "")),
        deleting="deletionTimestamp" in metadata,
        gone_by_ns=_wall_ns(str(metadata.get("deletionTimestamp", ""))),
        trusted_restarts=_number(trusted.get("restartCount")),
        last_words=words[-_SHOWN_LONGEST:],
        last_outcome=_outcome(words),
        end=_end(status, user_code),
        problem=_problem(name, body),
    )


def trim_test(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a LoadTest without what only fills memory: half of it, and nothing that a decision needs."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    annotations = {key: text for key, text in metadata.get("annotations", {}).items() if key != _HEAVY_ANNOTATION}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def trim_pod(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a pod with no more than what is read of it here."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in {"managedFields", "annotations"}}
    node = (body.get("spec") or {}).get("nodeName", "")
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": body.get("status") or {}}


def has_ended(body: Mapping[str, Any]) -> bool:
    """Say whether no container of a pod will run again."""
    return (body.get("status") or {}).get("phase") in TERMINAL_PHASES


def owner_of(body: Mapping[str, Any]) -> str:
    """Return the UID of the LoadTest that controls an object; empty if none does."""
    for owner in body.get("metadata", {}).get("ownerReferences") or ():
        if owner.get("kind") == naming.KIND and str(owner.get("apiVersion", "")).startswith(f"{naming.GROUP}/"):
            return str(owner.get("uid", ""))
    return ""


def _problem(name: str, body: Mapping[str, Any]) -> PodProblem | None:
    status = body.get("status", {})
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        problem = _container_problem(name, container)
        if problem is not None:
            return problem
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return PodProblem(
                Reason.UNSCHEDULABLE,
                f"Pod {name} waits for a node: {condition.get('message', 'no node fits')} Add nodes, ask for less in "
                "workers.template.resources or workers.replicas, or mend nodeSelector, affinity and tolerations.",
                None,
            )
    return None


def _container_problem(name: str, container: Mapping[str, Any]) -> PodProblem | None:
    state = container.get("state", {})
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    where = f"pod {name}, container {container.get('name', '?')}"
    if reason in _PULL_FAILURES or reason in _PULL_HOPELESS:
        return PodProblem(
            Reason.IMAGE_PULL,
            f"Image {container.get('image', '?')} cannot be pulled ({where}): {message or reason}. "
            "Correct spec.image, or add workers.template.spec.imagePullSecrets.",
            0.0 if reason in _PULL_HOPELESS else _PULL_PATIENCE_SECONDS,
        )
    if reason == _CONFIG_FAILURE:
        is_missing = "not found" in message or "find key" in message
        return PodProblem(
            Reason.SOURCE_NOT_FOUND if is_missing else Reason.TEMPLATE_INVALID,
            f"A container cannot be configured ({where}): {message}. Create what is missing, or correct spec.env, "
            "spec.envFrom and spec.control.",
            _CONFIG_PATIENCE_SECONDS,
        )
    terminated = state.get("terminated") or {}
    if reason in _CREATE_FAILURES or terminated.get("reason") in _CREATE_FAILURES:
        return PodProblem(
            Reason.TEMPLATE_INVALID,
            f"A container cannot be started ({where}): {message or terminated.get('message') or reason}. "
            "Correct spec.image or workers.template.",
            _CREATE_PATIENCE_SECONDS,
        )
    if terminated.get("reason") == "OOMKilled":
        return PodProblem(
            Reason.WORKER_OOM,
            f"A container was killed because it used more memory than its limit ({where}). "
            "Raise workers.template.resources.limits.memory, or spread the users over more workers.replicas.",
            _OOM_PATIENCE_SECONDS,
        )
    return None


def _end(status: Mapping[str, Any], user_code: Mapping[str, Any]) -> ContainerEnd | None:
    terminated = (user_code.get("state") or {}).get("terminated")
    if terminated:
        disruption = _disruption(status)
        return ContainerEnd(
            disruption or str(terminated.get("reason", "Error")),
            str(terminated.get("message", "")).strip()[-512:],
            _number(terminated.get("exitCode")),
        )
    if status.get("phase") == "Failed":
        return ContainerEnd(str(status.get("reason", "Error")), str(status.get("message", ""))[-512:], 1)
    return None


def _disruption(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("reason", "Disrupted"))
    return str(status.get("reason", ""))


def _last_words(trusted: Mapping[str, Any]) -> str:
    for state in (trusted.get("state") or {}, trusted.get("lastState") or {}):
        terminated = state.get("terminated")
        if terminated:
            return str(terminated.get("message", "")).strip()
    return ""


def _outcome(words: str) -> Outcome | None:
    """Return the verdict in a master's termination message, which is JSON only if it had come to one."""
    if not words.startswith("{"):
        return None
    try:
        said = json.loads(words)
        verdict = Verdict(said["verdict"])
        requests = int(said.get("requests", 0))
    except (ValueError, KeyError, TypeError):
        return None
    return Outcome(
        verdict=verdict,
        reason=str(said.get("reason") or verdict),
        message=f"{said.get('message', '')} (from the master's last words; its report is lost)".strip(),
        exit_code=EXIT_CODES[verdict],
        results={"requests": requests},
    )


def _lease_ns(value: object) -> int:
    try:
        return parse_duration(str(value))
    except ValueError:
        return DEFAULT_LEASE_NS


def _number(value: object, *, default: int = 0) -> int:
    try:
        return int(str(value))
    except ValueError:
        return default


def _wall_ns(text: str) -> int:
    """Return an instant, RFC 3339, in nanoseconds since the Unix epoch; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(text).timestamp()) * SECOND
    except ValueError:
        return 0

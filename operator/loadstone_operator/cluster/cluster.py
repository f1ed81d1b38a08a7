"""Read and write what a run consists of: the operator's whole dealing with the Kubernetes API, one method a wish.

Whether to do it is decided elsewhere; what an answer means for a run is said here, once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loadstone_core.clock import rfc3339
from loadstone_core.spec.model import Tls
from loadstone_core.verdict.outcome import Reason
from loadstone_operator import naming
from loadstone_operator.cluster.api import (
    ACCESS_REVIEWS,
    CLASSES,
    CONFIG_MAPS,
    EVENTS,
    LOADTESTS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
    Kind,
)
from loadstone_operator.cluster.authorities import AuthorityUnusable
from loadstone_operator.cluster.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from loadstone_operator.cluster.reading import owner_of, trim_pod, trim_test
from loadstone_operator.manifests import objects
from loadstone_operator.manifests.pods import master_pod, worker_pod
from loadstone_operator.observation import CreationProblem
from loadstone_operator.ports import CreationFailed, NameHeld, StatusConflict
from loadstone_operator.versions import uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loadstone_core.clock import Clock
    from loadstone_operator.cluster.api import Api
    from loadstone_operator.cluster.authorities import Authorities
    from loadstone_operator.manifests.order import RunOrder
    from loadstone_operator.observation import LoadTestView
    from loadstone_operator.ports import Body, Key
    from loadstone_operator.status.story import Tale


class NameTaken(ApiError, NameHeld):  # noqa: N818 (a state of the world)
    """An object of the wanted name exists and belongs to somebody else."""


class KubernetesCluster:
    """The cluster that the operator works in; `namespaces` is empty when it serves all of them."""

    def __init__(
        self, api: Api, clock: Clock, authorities: Authorities, *, namespaces: tuple[str, ...], instance: str
    ) -> None:
        self._api = api
        self._clock = clock
        self._authorities = authorities
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._instance = instance

    async def list_tests(self) -> list[Body]:
        """Return every LoadTest that the operator serves."""
        return await self._list(LOADTESTS, None, trim_test)

    async def list_classes(self) -> list[Body] | None:
        """Return every LoadTestClass; None if the operator serves single namespaces, or the cluster has no such kind.

        Where its roles are older than it is, there are none to be read either: that is told with the rights it lacks.
        """
        if None not in self._namespaces:
            return None
        try:
            return await self._api.list(CLASSES, None, trim=trim_test)
        except (NotFound, Forbidden):
            return None

    async def may_watch_classes(self) -> bool:
        """Say whether there are LoadTestClasses to be read, and a right to hear of their changes."""
        if await self.list_classes() is None:
            return False
        wish = {"group": naming.GROUP, "resource": naming.CLASS_PLURAL, "verb": "watch"}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": ACCESS_REVIEWS.name,
            "spec": {"resourceAttributes": wish},
        }
        review = await self._api.create(ACCESS_REVIEWS, None, body)
        return bool((review.get("status") or {}).get("allowed"))

    async def list_pods(self) -> list[Body]:
        """Return every managed pod, as far as `reading` reads it."""
        return await self._list(PODS, naming.MANAGED_SELECTOR, trim_pod)

    async def fetch_test(self, key: Key) -> Body | None:
        """Return the newest state of a LoadTest, or None if it is gone."""
        try:
            return await self._api.get(LOADTESTS, key.namespace, key.name)
        except NotFound:
            return None

    async def fetch_config_map(self, namespace: str, name: str) -> Body | None:
        """Return a ConfigMap, or None if there is none of this name."""
        try:
            return await self._api.get(CONFIG_MAPS, namespace, name)
        except NotFound:
            return None

    async def make_children(self, order: RunOrder, workers: int) -> list[Body]:
        """Sign for a run, make its objects, all at once, and return its pods.

        Raises:
            CreationFailed: an object was refused, or would be; a fatal refusal is reported before one that may pass.
        """
        try:
            secrets = [objects.secret(order)]
        except objects.SecretTooLarge as error:
            raise CreationFailed(CreationProblem(Reason.SPEC_INVALID, str(error), is_fatal=True), []) from error
        if order.plan.tls is Tls.MUTUAL:
            try:
                credentials = await self._authorities.sign_run(order.plan.run.uid, workers, authority=order.authority)
            except ApiError as error:
                raise CreationFailed(creation_problem(error), []) from error
            order = order.signed_by(credentials.authority)
            secrets += objects.tls_secrets(order, credentials)
        shared = [(SERVICES, objects.service(order))]
        if order.runner.access is not None:
            shared.append((NETWORK_POLICIES, objects.network_policy(order, order.runner.access)))
        pods = [master_pod(order), *(worker_pod(order, index, attempt=1) for index in range(workers))]
        answers = await asyncio.gather(
            # First what a kubelet would look for in vain, and only a while later look for again.
            *(self._make_secret(order, secret) for secret in secrets),
            *(self._make_named(order, kind, body) for kind, body in shared),
            *(self._make_pod(order, pod) for pod in pods),
            return_exceptions=True,
        )
        made = [answer for answer in answers[-len(pods) :] if isinstance(answer, dict)]
        refusals = [answer for answer in answers if isinstance(answer, BaseException)]
        problems = [creation_problem(refusal) for refusal in refusals if isinstance(refusal, ApiError)]
        if len(problems) < len(refusals):
            raise next(refusal for refusal in refusals if not isinstance(refusal, ApiError))
        if problems:
            raise CreationFailed(max(problems, key=lambda problem: problem.is_fatal), made)
        return made

    async def make_master(self, order: RunOrder) -> Body:
        """Make one more master of a run, lead its workers there, and return its pod.

        Raises:
            CreationFailed: the pod, or the change of the Service, was refused.
        """
        service = objects.service(order)
        selector = {"spec": {"selector": service["spec"]["selector"]}}
        try:
            pod = await self._make_pod(order, master_pod(order))
            await self._api.merge(SERVICES, order.loadtest.namespace, service["metadata"]["name"], selector)
        except ApiError as error:
            raise CreationFailed(creation_problem(error), []) from error
        return pod

    async def make_workers(self, order: RunOrder, workers: Sequence[tuple[int, int]]) -> list[Body]:
        """Make pods of workers, by (worker, attempt), and return those that are there then.

        Raises:
            CreationFailed: a pod, or what it shows its master, was refused.
        """
        made: list[Body] = []
        for index, attempt in workers:
            try:
                await self._make_certificate(order, index)
                made.append(await self._make_pod(order, worker_pod(order, index, attempt=attempt)))
            except ApiError as error:
                raise CreationFailed(creation_problem(error), made) from error
        return made

    async def delete_pod(self, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None) -> None:
        """Delete a pod; one that is gone already, or has a successor of its name, is deleted."""
        try:
            await self._api.delete(PODS, namespace, name, uid=uid, grace_seconds=grace_seconds)
        except (NotFound, Conflict):
            return

    async def save_report(self, test: LoadTestView, run: int, gzip_json: bytes, *, gzip_log: bytes) -> None:
        """Keep a run's report in the LoadTest's ConfigMap.

        Raises:
            NameTaken: a ConfigMap of this name belongs to somebody else, and would be deleted with the LoadTest.
        """
        body = objects.report(test, run, gzip_json, gzip_log=gzip_log)
        held = await self.fetch_config_map(test.namespace, body["metadata"]["name"])
        if held is not None and owner_of(held) != test.uid:
            raise _taken(CONFIG_MAPS.name, body)
        await self._api.apply(CONFIG_MAPS, test.namespace, body)

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        """Write a whole status over the one in the body; return the body as it is then.

        Raises:
            StatusConflict: the LoadTest has changed since the body was read, or is gone.
        """
        metadata = body["metadata"]
        patch = {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            # A wrong UID would be taken here; the resource version alone guards against a successor of the name.
            "metadata": {"name": metadata["name"], "resourceVersion": version_of(body)},
            "status": dict(status),
        }
        try:
            answer = await self._api.apply(LOADTESTS, metadata["namespace"], patch, subresource="status")
        except (Conflict, NotFound) as error:
            raise StatusConflict(str(error)) from error
        # The body was the newest, so what else is in it stands.
        return {**body, "metadata": answer["metadata"], "status": dict(status)}

    async def mark(self, body: Body, value: str) -> Body:
        """Write the annotation that tells the last run, unless the LoadTest has a successor of its name.

        Raises:
            StatusConflict: it has changed since, or is gone.
        """
        metadata = body["metadata"]
        patch = {
            "metadata": {
                "resourceVersion": version_of(body),
                "annotations": {naming.ANNOTATION_LAST_RUN: value},
            }
        }
        try:
            return await self._api.merge(LOADTESTS, metadata["namespace"], metadata["name"], patch)
        except (Conflict, NotFound) as error:
            raise StatusConflict(str(error)) from error

    async def tell(self, body: Body, tale: Tale) -> None:
        """Post an Event about a LoadTest; its name keeps it from being told twice."""
        metadata, now = body["metadata"], self._clock.wall_ns()
        name = naming.event(metadata["name"], uid_of(body), run=tale.run, reason=tale.reason, detail=tale.detail)
        seconds = f"{rfc3339(now)[:19]}Z"
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": naming.API_VERSION,
                "kind": naming.KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": uid_of(body),
                "resourceVersion": version_of(body),
            },
            "type": "Warning" if tale.is_warning else "Normal",
            "reason": tale.reason,
            "message": tale.message,
            "source": {"component": "loadstone"},
            "reportingComponent": "loadstone.dev/operator",
            "reportingInstance": self._instance,
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
        }
        try:
            await self._api.create(EVENTS, metadata["namespace"], event)
        except Conflict:
            return

    async def _list(self, kind: Kind, labels: str | None, trim: Callable[[Body], Body]) -> list[Body]:
        lists = (self._api.list(kind, each, labels=labels, trim=trim) for each in self._namespaces)
        pages = await asyncio.gather(*lists)
        return [body for page in pages for body in page]

    async def _make_secret(self, order: RunOrder, secret: Body) -> None:
        try:
            await self._api.create(SECRETS, order.loadtest.namespace, secret)
        except Conflict:
            # Its name carries the LoadTest's UID, and it cannot be read: it is this run's own.
            return

    async def _make_certificate(self, order: RunOrder, worker: int) -> None:
        """Make what a worker shows that the run was not planned with. One that is there already is as good."""
        if not order.authority or objects.is_signed_with_the_run(order, worker):
            return
        pems = await self._authorities.sign_worker(order.plan.run.uid, worker, authority=order.authority)
        await self._make_secret(order, objects.worker_tls_secret(order, worker, pems))

    async def _make_named(self, order: RunOrder, kind: Kind, body: Body) -> None:
        """Make an object of a name that somebody else may have chosen, too."""
        try:
            await self._api.create(kind, order.loadtest.namespace, body)
        except Conflict:
            held = await self._api.merge(kind, order.loadtest.namespace, body["metadata"]["name"], {})
            if owner_of(held) != order.uid:
                raise _taken(kind.name, body) from None

    async def _make_pod(self, order: RunOrder, pod: Body) -> Body:
        namespace = order.loadtest.namespace
        try:
            return await self._api.create(PODS, namespace, pod)
        except Conflict:
            mine = await self._api.list(PODS, namespace, labels=f"{naming.LABEL_UID}={order.uid}")
            for held in mine:
                if held["metadata"]["name"] == pod["metadata"]["name"] and owner_of(held) == order.uid:
                    return held
            raise _taken("Pod", pod) from None


def creation_problem(error: ApiError) -> CreationProblem:
    """Return what a refused creation means for the run."""
    said = str(error)
    match error:
        case NameTaken():
            return CreationProblem(Reason.OPERATOR_ERROR, said, is_fatal=False, shown="NameConflict")
        case AuthorityUnusable():
            return CreationProblem(Reason.OPERATOR_ERROR, said, is_fatal=False, shown="AuthorityUnusable")
        case Forbidden(is_quota=True):
            return CreationProblem(
                Reason.QUOTA_EXCEEDED,
                f"The namespace's quota does not allow the run's pods: {said}. Free some of it, have it raised, or ask "
                "for fewer workers or smaller workers.template.resources.",
                is_fatal=False,
            )
        case Forbidden(is_missing_right=True):
            return CreationProblem(
                Reason.OPERATOR_ERROR,
                f"The operator lacks a right: {said}. Install the chart's roles again.",
                is_fatal=False,
                shown="OperatorForbidden",
            )
        case Forbidden() if "being terminated" not in said:
            return CreationProblem(
                Reason.TEMPLATE_INVALID,
                f"The namespace does not admit the run's pods: {said}. Correct workers.template.",
                is_fatal=True,
            )
        case Invalid():
            return CreationProblem(
                Reason.TEMPLATE_INVALID,
                f"The run's pods are not valid: {said}. Correct workers.template, spec.env or spec.envFrom.",
                is_fatal=True,
            )
        case _:
            return CreationProblem(
                Reason.OPERATOR_ERROR, f"The API server did not make the run's objects: {said}", is_fatal=False
            )


def _taken(kind: str, body: Body) -> NameTaken:
    name = body["metadata"]["name"]
    return NameTaken(
        409,
        f"{kind} {name} exists and does not belong to this LoadTest; it is made as soon as that one is gone. "
        "Delete it, or give the LoadTest another name.",
    )

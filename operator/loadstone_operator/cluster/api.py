"""Call the Kubernetes API with plain dicts: one connection pool, one token source, one kind of error.

Kinds are described by hand, so that no discovery is needed and no right to it. The client's typed models are never
imported: they are larger than the rest of the operator.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from loadstone_operator import naming
from loadstone_operator.cluster.errors import ApiError, Unreachable, api_error
from loadstone_operator.cluster.nesting import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadstone_operator.cluster.credentials import Credentials

CALL_SECONDS: Final = 15.0
# A run's objects are made at once; more connections than this would cost more in handshakes than they save.
CONNECTIONS: Final = 16
# The API server closes idle connections after 90 s.
KEEPALIVE_SECONDS: Final = 80
# A page of whole pods takes 6 MiB.
PAGE: Final = 100
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_TOKEN_SECONDS: Final = 10.0
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object, and where the API has it."""

    name: str
    plural: str
    prefix: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of all objects of a namespace, or of the cluster."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        parts = (f"{self.prefix}{scope}", self.plural, name, subresource)
        return "/".join(part for part in parts if part)


LOADTESTS: Final = Kind("LoadTest", naming.PLURAL, f"/apis/{naming.API_VERSION}")
CLASSES: Final = Kind("LoadTestClass", naming.CLASS_PLURAL, f"/apis/{naming.API_VERSION}")
PODS: Final = Kind("Pod", "pods", "/api/v1")
SECRETS: Final = Kind("Secret", "secrets", "/api/v1")
SERVICES: Final = Kind("Service", "services", "/api/v1")
CONFIG_MAPS: Final = Kind("ConfigMap", "configmaps", "/api/v1")
NETWORK_POLICIES: Final = Kind("NetworkPolicy", "networkpolicies", "/apis/networking.k8s.io/v1")
EVENTS: Final = Kind("Event", "events", "/api/v1")
LEASES: Final = Kind("Lease", "leases", "/apis/coordination.k8s.io/v1")
ACCESS_REVIEWS: Final = Kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", "/apis/authorization.k8s.io/v1")
RULES_REVIEWS: Final = Kind("SelfSubjectRulesReview", "selfsubjectrulesreviews", "/apis/authorization.k8s.io/v1")


class _PlainClient(ApiClient):
    """A client of bodies that are plain JSON values: looking through each of them for models found none, at a price."""

    def sanitize_for_serialization(self, obj: Any) -> Any:
        """Return what is plain already."""
        return obj


class Api:
    """The operator's one client. Every method raises `ApiError` and nothing else."""

    def __init__(
        self, credentials: Callable[[], Credentials], on_call: Callable[[str, str, int], None] = lambda *_: None
    ) -> None:
        self._read = credentials
        self._on_call = on_call
        self._held = credentials()
        self._read_at = time.monotonic()
        self._configuration = Configuration(host=self._held.server)
        self._connector = aiohttp.TCPConnector(
            limit=CONNECTIONS, ssl=self._held.ssl_context(), keepalive_timeout=KEEPALIVE_SECONDS
        )
        self._configuration.client_session_kwargs = {"connector": self._connector, "trust_env": False}
        self._use_token()
        self._client = _PlainClient(self._configuration)
        self._client.user_agent = naming.FIELD_MANAGER
        self._dynamic = DynamicClient(self._client)  # type: ignore[no-untyped-call]  # the client is not typed

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the client is not typed
        await self._connector.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """Return one object."""
        return await self._call("get", kind, kind.path(namespace, name))

    async def list(
        self,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str | None = None,
        trim: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body,
    ) -> list[dict[str, Any]]:
        """Return all objects of a namespace, or of the cluster, trimmed page by page."""
        found: list[dict[str, Any]] = []
        more: str | None = None
        while True:
            page = await self._call(
                "get", kind, kind.path(namespace), label_selector=labels, limit=PAGE, _continue=more
            )
            found += map(trim, page.get("items") or ())
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found

    async def create(self, kind: Kind, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object; its name must be free."""
        return await self._call("post", kind, kind.path(namespace), body=dict(body))

    async def apply(
        self, kind: Kind, namespace: str, body: Mapping[str, Any], *, subresource: str = ""
    ) -> dict[str, Any]:
        """Make an object, or the operator's part of it, be as it is given; return no more of it than its metadata."""
        return await self._call(
            "patch",
            kind,
            kind.path(namespace, body["metadata"]["name"], subresource),
            header_params={"Accept": _METADATA},
            body=dict(body),
            content_type="application/apply-patch+yaml",
            field_manager=naming.FIELD_MANAGER,
            force_conflicts=True,
        )

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields of an object that a merge patch names."""
        return await self._call(
            "patch",
            kind,
            kind.path(namespace, name),
            body=dict(patch),
            content_type="application/merge-patch+json",
            field_manager=naming.FIELD_MANAGER,
        )

    async def replace(self, kind: Kind, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write an object whole; `metadata.resourceVersion` in it must be the newest."""
        return await self._call("put", kind, kind.path(namespace, body["metadata"]["name"]), body=dict(body))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> None:
        """Delete an object, but none that has taken its name since."""
        options: dict[str, Any] = {"preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._call("delete", kind, kind.path(namespace, name), body=options)

    async def _call(self, verb: str, kind: Kind, path: str, **arguments: Any) -> dict[str, Any]:
        self._refresh_token(is_forced=False)
        try:
            return await self._request(verb, kind, path, **arguments)
        except ApiError as error:
            if error.status != _UNAUTHORIZED or not self._refresh_token(is_forced=True):
                raise
            return await self._request(verb, kind, path, **arguments)

    async def _request(self, verb: str, kind: Kind, path: str, **arguments: Any) -> dict[str, Any]:
        status = 0
        try:
            response = await self._dynamic.request(
                verb, path, serialize=False, _request_timeout=CALL_SECONDS, **arguments
            )
            status = int(response.status)
            answer: dict[str, Any] = await response.json(loads=loads)
        except DynamicApiError as error:
            status = int(error.status or 0)
            raise api_error(status, str(error.body or ""), str(error.reason or "")) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(0, f"the API server did not answer ({verb} {path}): {error!r}") from error
        finally:
            self._on_call(verb, kind.name, status)
        return answer

    def _refresh_token(self, *, is_forced: bool) -> bool:
        """Read the token again now and then; return whether it has changed."""
        now = time.monotonic()
        if not is_forced and now - self._read_at < _TOKEN_SECONDS:
            return False
        before, self._held, self._read_at = self._held, self._read(), now
        self._use_token()
        return before.token != self._held.token

    def _use_token(self) -> None:
        if self._held.token:
            self._configuration.api_key["BearerToken"] = f"Bearer {self._held.token}"

"""The shapes of the operator's collaborators, as the shell needs them; the edges fit themselves to these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from loadstone_core.errors import WorldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_operator.manifests.order import RunOrder
    from loadstone_operator.observation import CreationProblem, LoadTestView, MasterView
    from loadstone_operator.status.story import Tale
    from loadstone_operator.wishes import Steer
    from loadstone_protocol.identity import Pems

Body: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which LoadTest."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class MasterRef:
    """Which master: the LoadTest's UID, its run and epoch, where it listens, and who signed for it (empty: no TLS)."""

    uid: str
    run: int
    epoch: int
    address: str
    authority: str = ""


class CreationFailed(Exception):  # noqa: N818 (an answer of the cluster, not a fault of ours)
    """Some of a run's objects could not be made; those that could are given along."""

    def __init__(self, problem: CreationProblem, pods: list[Body]) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.pods = pods


class NameHeld(WorldError):  # noqa: N818
    """An object of the wanted name exists and belongs to somebody else."""


class StatusConflict(Exception):  # noqa: N818
    """The status was decided from a resource that has changed since, or is gone."""


class Cluster(Protocol):
    """What the operator reads from and writes to the Kubernetes API."""

    async def list_tests(self) -> list[Body]:
        """Return every LoadTest that the operator serves."""
        ...

    async def list_classes(self) -> list[Body] | None:
        """Return every LoadTestClass, or None where there are none to be read."""
        ...

    async def list_pods(self) -> list[Body]:
        """Return every managed pod."""
        ...

    async def fetch_test(self, key: Key) -> Body | None:
        """Return the newest state of a LoadTest, or None if it is gone."""
        ...

    async def fetch_config_map(self, namespace: str, name: str) -> Body | None:
        """Return a ConfigMap, or None if there is none of this name."""
        ...

    async def make_children(self, order: RunOrder, workers: int) -> list[Body]:
        """Make the objects of a run and return its pods; raise CreationFailed when one is refused."""
        ...

    async def make_master(self, order: RunOrder) -> Body:
        """Make one more master of a run and lead its workers there; return its pod, or raise CreationFailed."""
        ...

    async def make_workers(self, order: RunOrder, workers: Sequence[tuple[int, int]]) -> list[Body]:
        """Make pods of workers, by (worker, attempt), and return them; raise CreationFailed when one is refused."""
        ...

    async def delete_pod(self, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None) -> None:
        """Delete a pod, if need be with less time to end than it was made with; one that is gone is deleted."""
        ...

    async def save_report(self, test: LoadTestView, run: int, gzip_json: bytes, *, gzip_log: bytes) -> None:
        """Keep a run's report, and the end of its log; raise NameHeld if its name is somebody else's."""
        ...

    async def write_status(self, body: Body, status: Mapping[str, Any]) -> Body:
        """Write a whole status over the one in the body; raise StatusConflict if the body is not the newest."""
        ...

    async def mark(self, body: Body, value: str) -> Body:
        """Write the annotation that tells the last run."""
        ...

    async def tell(self, body: Body, tale: Tale) -> None:
        """Post an Event about a LoadTest, at most once."""
        ...


class Trust(Protocol):
    """What the operator shows masters."""

    async def sign_operator(self, run_uid: str, *, authority: str) -> Pems:
        """Return a certificate for a run that this authority has signed for; raise WorldError if it cannot now."""
        ...


class Masters(Protocol):
    """What the operator hears from and says to the masters of runs."""

    def follow(self, key: Key, ref: MasterRef) -> None:
        """Stay connected to a master until it is forgotten; another address is another connection."""
        ...

    def forget(self, uid: str) -> None:
        """End the connection to a LoadTest's master, if there is one."""
        ...

    def view(self, uid: str, run: int) -> MasterView | None:
        """Return what the master of a run said last, or None if it is not followed."""
        ...

    def steered(self, uid: str) -> Steer | None:
        """Return the wish that the master has acknowledged."""
        ...

    async def steer(self, uid: str, wish: Steer) -> None:
        """Hand a wish to the master."""
        ...

    async def fetch_report(self, uid: str) -> bytes:
        """Return the report of a finished run."""
        ...

    async def fetch_log(self, uid: str, size: int) -> bytes:
        """Return the end of a run's log as gzip text of at most `size` bytes."""
        ...

    async def tell_stored(self, uid: str) -> None:
        """Tell the master that verdict and report are kept."""
        ...

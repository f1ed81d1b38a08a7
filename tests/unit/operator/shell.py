# ruff: noqa: ARG002 (ends of ports take what the ports say)
"""The operator's shell with the ports' ends in memory, and the steps that a test takes with it by hand."""

import asyncio
import itertools
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from loadstone_core.clock import ManualClock
from loadstone_core.spec.model import Tls
from loadstone_operator import naming
from loadstone_operator.acting import Actor
from loadstone_operator.capacity import Ledger, Limits
from loadstone_operator.classes import Classes
from loadstone_operator.cluster.store import Store
from loadstone_operator.controller import Controller
from loadstone_operator.looking import Looker
from loadstone_operator.manifests.order import RunnerDefaults
from loadstone_operator.manifests.pods import master_pod, worker_pod
from loadstone_operator.observation import CreationProblem, MasterView, Stage
from loadstone_operator.ports import CreationFailed, Key, MasterRef, StatusConflict
from loadstone_operator.telemetry.health import WatchProgress
from loadstone_operator.telemetry.metrics import Metrics
from loadstone_operator.wishes import Steer
from loadstone_operator.workqueue import WorkQueue

SECOND = 10**9


class MemoryCluster:
    """The cluster's end of the port: objects in dicts, with resource versions."""

    def __init__(self) -> None:
        self.versions = itertools.count(1)
        self.authorities = itertools.count(1)
        self.tests: dict[Key, dict[str, Any]] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        self.config_maps: dict[str, dict[str, Any]] = {}
        self.reports: list[tuple[int, bytes]] = []
        self.tales: list[str] = []
        self.calls: list[str] = []
        self.classes: list[dict[str, Any]] | None = []
        self.graces: list[int | None] = []
        self.refusal: CreationProblem | None = None
        self.written = asyncio.Event()

    def put(self, name: str, *, generation: int = 1, created: str = "1", **spec: Any) -> dict[str, Any]:
        key = Key("shop", name)
        held = self.tests.get(key, {"metadata": {}, "status": {}})
        metadata = {
            **held["metadata"],
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "generation": generation,
            "creationTimestamp": created,
            "resourceVersion": str(next(self.versions)),
        }
        base = {
            "source": {"inline": {"content": "pass"}},
            "load": {"users": 4, "duration": "5s"},
            "workers": {"replicas": 2},
        }
        self.tests[key] = {
            "apiVersion": naming.API_VERSION,
            "kind": naming.KIND,
            "metadata": metadata,
            "spec": {**base, **spec},
            "status": held["status"],
        }
        return self.tests[key]

    async def list_tests(self) -> list[dict[str, Any]]:
        return list(self.tests.values())

    async def list_classes(self) -> list[dict[str, Any]] | None:
        return self.classes

    async def list_pods(self) -> list[dict[str, Any]]:
        return list(self.pods.values())

    async def fetch_test(self, key: Key) -> dict[str, Any] | None:
        return self.tests.get(key)

    async def fetch_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        self.calls.append(f"get {name}")
        return self.config_maps.get(name)

    async def make_children(self, order: Any, workers: int) -> list[dict[str, Any]]:
        self.calls.append(f"make {order.run} with {workers}")
        if self.refusal:
            raise CreationFailed(self.refusal, [])
        if order.plan.tls is Tls.MUTUAL and not order.authority:
            order = order.signed_by(f"authority-{next(self.authorities)}")
        made = [master_pod(order), *(worker_pod(order, index, attempt=1) for index in range(workers))]
        for pod in made:
            name = pod["metadata"]["name"]
            pod["metadata"].update(uid=f"pod-{name}", resourceVersion=str(next(self.versions)))
            self.pods.setdefault(name, pod)
        return made

    async def make_workers(self, order: Any, workers: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        made = [worker_pod(order, index, attempt=attempt) for index, attempt in workers]
        if self.refusal:
            raise CreationFailed(self.refusal, [])
        for pod in made:
            pod["metadata"].update(uid=f"pod-{pod['metadata']['name']}", resourceVersion=str(next(self.versions)))
            self.pods[pod["metadata"]["name"]] = pod
        return made

    async def make_master(self, order: Any) -> dict[str, Any]:
        pod = master_pod(order)
        pod["metadata"].update(uid=f"pod-{pod['metadata']['name']}", resourceVersion=str(next(self.versions)))
        self.pods[pod["metadata"]["name"]] = pod
        return pod

    async def delete_pod(self, namespace: str, name: str, uid: str, *, grace_seconds: int | None = None) -> None:
        self.pods.pop(name, None)
        self.graces.append(grace_seconds)

    async def save_report(self, test: Any, run: int, gzip_json: bytes, *, gzip_log: bytes) -> None:
        self.reports.append((run, gzip_json))

    async def write_status(self, body: dict[str, Any], status: Any) -> dict[str, Any]:
        written = self._write(body, f"status {status['phase']}", status=dict(status))
        self.written.set()
        return written

    async def mark(self, body: dict[str, Any], value: str) -> dict[str, Any]:
        marked = {**body["metadata"], "annotations": {naming.ANNOTATION_LAST_RUN: value}}
        return self._write(body, "mark", metadata=marked)

    async def tell(self, body: dict[str, Any], tale: Any) -> None:
        self.tales.append(tale.reason)

    def _write(self, body: dict[str, Any], call: str, **change: Any) -> dict[str, Any]:
        key = Key("shop", body["metadata"]["name"])
        held = self.tests.get(key)
        if held is None or held["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise StatusConflict("changed")
        self.calls.append(call)
        written = {**held, **change}
        written["metadata"] = {**written["metadata"], "resourceVersion": str(next(self.versions))}
        self.tests[key] = written
        return written


class MemoryMasters:
    """The masters' end of the port."""

    def __init__(self) -> None:
        self.followed: dict[str, MasterRef] = {}
        self.views: dict[str, MasterView] = {}
        self.wishes: dict[str, Steer] = {}

    def follow(self, key: Key, ref: MasterRef) -> None:
        self.followed[ref.uid] = ref

    def forget(self, uid: str) -> None:
        for held in (self.followed, self.views, self.wishes):
            held.pop(uid, None)

    def view(self, uid: str, run: int) -> MasterView | None:
        return self.views.get(uid) if uid in self.followed and self.followed[uid].run == run else None

    def steered(self, uid: str) -> Steer | None:
        return self.wishes.get(uid)

    async def steer(self, uid: str, wish: Steer) -> None:
        self.wishes[uid] = wish

    async def fetch_log(self, uid: str, size: int) -> bytes:
        return b"log"

    async def fetch_report(self, uid: str) -> bytes:
        return b"report"

    async def tell_stored(self, uid: str) -> None:
        self.views[uid] = replace(self.views[uid], stored=True)


class HeldLease:
    is_held = True

    async def wait_until_held(self) -> None:
        return

    async def wait_while_held(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Operator:
    """The shell with its ends, and the steps that a test takes with it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = ManualClock(wall=1_700_000_000 * SECOND)
        self.cluster, self.masters, self.store = MemoryCluster(), MemoryMasters(), Store()
        self.queue = WorkQueue()
        ledger, classes = Ledger(limits or Limits()), Classes()
        self.looker = Looker(self.store, classes, self.masters, ledger, self.clock)
        self.actor = Actor(self.cluster, self.masters, self.store, runner=RunnerDefaults("r:1"), clock=self.clock)
        self.controller = Controller(
            cluster=self.cluster,
            store=self.store,
            classes=classes,
            looker=self.looker,
            actor=self.actor,
            ledger=ledger,
            lease=HeldLease(),  # type: ignore[arg-type]  # the part of a Lease that the shell asks
            metrics=Metrics(),
            progress=WatchProgress(self.clock),
            queue=self.queue,
            clock=self.clock,
        )

    async def hear(self, body: dict[str, Any]) -> float | None:
        self.controller.heard_test("MODIFIED", body)
        return await self.look(body["metadata"]["name"])

    async def look(self, name: str = "checkout") -> float | None:
        for _ in range(10):
            again = await self.controller.reconcile(Key("shop", name))
            if again != 0.0:
                return again
        raise AssertionError("looks again for ever")

    def pod(self, name: str, **status: Any) -> None:
        body = self.cluster.pods[name]
        body = {**body, "status": {**body.get("status", {}), **status}}
        body["metadata"] = {**body["metadata"], "resourceVersion": str(next(self.cluster.versions))}
        self.cluster.pods[name] = body
        self.controller.heard_pod("MODIFIED", body)

    def status(self, name: str = "checkout") -> dict[str, Any]:
        status: dict[str, Any] = self.cluster.tests[Key("shop", name)]["status"]
        return status


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def running(operator: Operator, **spec: Any) -> None:
    await operator.hear(operator.cluster.put("checkout", **spec))
    for name in list(operator.cluster.pods):
        operator.pod(name, phase="Running", podIP="10.0.0.1")
    await operator.look()
    operator.masters.views["uid-checkout"] = MasterView(connected=True, stage=Stage.RUNNING)
    await operator.look()

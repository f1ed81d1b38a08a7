"""Wire the operator together and run it: `python -m loadstone_operator`. Nothing is decided here."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

# Nothing here forks, and gRPC's fork handlers would cost a lock at every fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from loadstone_operator.cluster import lean  # noqa: F401 (for what it does to the imports that follow)

# isort: split
import kopf

from loadstone_core.errors import UserError, WorldError
from loadstone_operator.acting import Actor
from loadstone_operator.capacity import Ledger
from loadstone_operator.classes import Classes
from loadstone_operator.cluster.api import Api
from loadstone_operator.cluster.authorities import Authorities
from loadstone_operator.cluster.clock import SystemClock
from loadstone_operator.cluster.cluster import KubernetesCluster
from loadstone_operator.cluster.credentials import read_credentials
from loadstone_operator.cluster.echoes import Echoes
from loadstone_operator.cluster.lease import Lease
from loadstone_operator.cluster.rights import missing_rights
from loadstone_operator.cluster.store import Store
from loadstone_operator.control.followers import Followers
from loadstone_operator.controller import Controller, progress_seconds
from loadstone_operator.handlers import framework, leaving, login, watching
from loadstone_operator.looking import Looker
from loadstone_operator.settings import read_settings
from loadstone_operator.telemetry.health import WatchProgress, serve
from loadstone_operator.telemetry.logs import configure
from loadstone_operator.telemetry.metrics import Metrics
from loadstone_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loadstone_operator.cluster.credentials import Credentials
    from loadstone_operator.settings import Settings

_log = logging.getLogger("loadstone_operator")


def main() -> int:
    """Run until a signal comes or something breaks; return the exit code."""
    try:
        settings = read_settings(os.environ)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(settings.log_level)
    # Until kopf takes signals: a process that is the first of its container has no handler by default.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What was imported stays for ever: the collector need not look at it again and again.
    gc.freeze()
    try:
        asyncio.run(_serve(settings))
    except Exception:  # noqa: BLE001 (the last place that can say it)
        _log.exception("Operator failed")
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    clock, metrics, store, classes = SystemClock(), Metrics(), Store(), Classes()
    progress, ledger = WatchProgress(clock), Ledger(settings.limits)
    api = Api(_credentials, metrics.called)
    lease = Lease(api, clock, namespace=settings.namespace, name=settings.lease_name, identity=settings.identity)
    trust = Authorities(api, clock, namespace=settings.namespace, name=settings.authority_name)
    cluster = KubernetesCluster(api, clock, trust, namespaces=settings.watch_namespaces, instance=settings.identity)
    queue = WorkQueue()

    def figures_seconds() -> float:
        return progress_seconds(len(masters))

    masters = Followers(clock, trust, queue.add, figures_seconds)
    controller = Controller(
        cluster=cluster,
        store=store,
        classes=classes,
        looker=Looker(store, classes, masters, ledger, clock),
        actor=Actor(cluster, masters, store, runner=settings.runner, clock=clock),
        ledger=ledger,
        lease=lease,
        metrics=metrics,
        progress=progress,
        queue=queue,
        clock=clock,
        figures_seconds=figures_seconds,
    )
    servers = await serve(
        metrics,
        progress,
        lambda: lease.is_held and controller.is_primed,
        metrics_port=settings.metrics_port,
        probes_port=settings.probes_port,
    )
    try:
        tasks = [
            asyncio.create_task(controller.run(), name="controller"),
            asyncio.create_task(lease.keep(), name="lease"),
            asyncio.create_task(_review(settings, api, metrics), name="rights"),
        ]

        async def leave() -> None:
            # In this order: nothing acts any more when a successor may begin, and it need not wait for anything else.
            await _cancel(tasks)
            await lease.release()
            await masters.close()

        try:
            with_classes = await _find_classes(cluster)
            echoes = Echoes(progress.watched)
            await _run(settings, controller, echoes, tasks=tasks[:2], leave=leave, with_classes=with_classes)
        finally:
            await leave()
    finally:
        for server in servers:
            server.close()
        await api.close()


async def _run(
    settings: Settings,
    controller: Controller,
    echoes: Echoes,
    *,
    tasks: list[asyncio.Task[None]],
    leave: Callable[[], Awaitable[None]],
    with_classes: bool,
) -> None:
    """Hear the watches until a signal comes or a task ends, which none should; then leave."""
    stop = asyncio.Event()
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())
    registry = kopf.OperatorRegistry()
    login.register(registry, _credentials, echoes)
    watching.register(registry, controller, with_classes=with_classes)
    leaving.register(registry, leave)
    try:
        await kopf.operator(
            registry=registry,
            settings=framework.framework_settings(),
            standalone=True,
            # Else kopf asks for the user's name, and an arbitrary UID has none.
            identity=settings.identity,  # type: ignore[arg-type]  # a NewType of str that kopf does not export
            clusterwide=not settings.watch_namespaces,
            namespaces=settings.watch_namespaces,
            stop_flag=stop,
        )
    finally:
        broken = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
    for task in broken:
        task.result()


async def _find_classes(cluster: KubernetesCluster) -> bool:
    """Say whether there are LoadTestClasses to be watched: kopf would end the operator where it may not do so."""
    while True:
        try:
            is_there = await cluster.may_watch_classes()
        except WorldError as error:
            _log.warning("Could not list classes", extra={"cause": str(error)})
            await asyncio.sleep(1.0)
            continue
        if not is_there:
            _log.warning("LoadTestClasses are not watched: there is no such kind, or no right to it")
        return is_there


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _review(settings: Settings, api: Api, metrics: Metrics) -> None:
    """Say at the start which rights are missing: each would be met much later, and by a user."""
    try:
        missing = await missing_rights(
            api,
            settings.watch_namespaces or (settings.namespace,),
            own=settings.namespace,
            authority=settings.authority_name,
            with_classes=not settings.watch_namespaces,
            with_policies=settings.runner.access is not None,
        )
    except WorldError as error:
        _log.warning("Could not review rights", extra={"cause": str(error)})
        return
    metrics.reviewed(len(missing))
    for right in missing:
        _log.error("Lacks a right; install the chart's roles again", extra={"right": right})


def _credentials() -> Credentials:
    return read_credentials(os.environ)


if __name__ == "__main__":
    sys.exit(main())

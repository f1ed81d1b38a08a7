"""Carry out what was decided, one action after another, through the ports. What to do is not decided here."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, assert_never

from loadstone_core.errors import LoadstoneError, WorldError
from loadstone_core.spec.digest import files_digest
from loadstone_core.spec.model import ConfigMapSource
from loadstone_core.verdict.outcome import Reason
from loadstone_operator.actions import (
    CreateChildren,
    CreateMaster,
    CreateWorkers,
    DeletePods,
    FetchSource,
    MarkRun,
    SaveReport,
    TellStored,
    is_tidying,
)
from loadstone_operator.manifests.objects import LOG_MOST_BYTES
from loadstone_operator.manifests.order import SourceMissing, make_order, script_files
from loadstone_operator.observation import ReportState
from loadstone_operator.permission import SourceState
from loadstone_operator.ports import CreationFailed, NameHeld
from loadstone_operator.wishes import Steer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_core.clock import Clock
    from loadstone_core.spec.model import LoadTest
    from loadstone_operator.actions import Action
    from loadstone_operator.cluster.store import Store
    from loadstone_operator.looking import Look
    from loadstone_operator.manifests.order import RunnerDefaults, RunOrder
    from loadstone_operator.observation import LoadTestView
    from loadstone_operator.ports import Cluster, Masters

_log = logging.getLogger(__name__)

REPORT_SECONDS: Final = 5.0
# Of its own: a log is looked for in all that was printed, and no report is given up for it.
LOG_SECONDS: Final = 3.0
# How long a master may take to hear that its run is killed: there is another way, and it must not wait.
KILL_SECONDS: Final = 1.0


class Actor:
    """The operator's hands."""

    def __init__(
        self, cluster: Cluster, masters: Masters, store: Store, *, runner: RunnerDefaults, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._masters = masters
        self._store = store
        self._runner = runner
        self._clock = clock

    async def act(self, look: Look, actions: Sequence[Action]) -> bool:
        """Do everything in order; return whether to go on with the status, or first to look again."""
        goes_on = True
        for action in actions:
            goes_on = await self._do(look, action) and goes_on
        return goes_on

    async def tidy(self, look: Look, actions: Sequence[Action]) -> None:
        """Do each that can be done; raise the first error, so that all of it is tried again."""
        errors: list[WorldError] = []
        for action in actions:
            try:
                await self._do(look, action)
            except WorldError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def _do(self, look: Look, action: Action) -> bool:
        match action:
            case FetchSource():
                await self._fetch_source(look)
                return False
            case CreateChildren():
                return await self._create(look, action)
            case CreateMaster():
                return await self._replace_master(look, action)
            case CreateWorkers():
                await self._replace(look, action)
            case DeletePods():
                await self._delete(look, action)
            case Steer():
                await self._steer(look, action)
            case SaveReport():
                await self._save_report(look, action)
                return False
            case TellStored():
                await self._tell_stored(look)
            case MarkRun():
                self._store.see_test(await self._cluster.mark(self._newest(look), action.value))
            case _:
                assert_never(action)
        return True

    async def _fetch_source(self, look: Look) -> None:
        loadtest, memory = _accepted(look), look.memory
        now = self._clock.monotonic_ns()
        held = await self._fetch_config_map(loadtest)
        memory.source_asked_ns = now
        try:
            memory.files = script_files(loadtest, held)
        except SourceMissing as missing:
            memory.source, memory.source_message = SourceState.MISSING, str(missing)
            memory.source_missing_ns = memory.source_missing_ns or now
        else:
            memory.source = SourceState.FOUND

    async def _replace_master(self, look: Look, action: CreateMaster) -> bool:
        memory, loadtest = look.memory, _accepted(look)
        files = memory.files if memory.files is not None else script_files(loadtest, None)
        order = replace(self._order(look, action, files, workers=look.seen.held.planned), past=action.past)
        # Whatever comes of it: no epoch is ever given to two masters.
        memory.epoch_reserved = 0
        try:
            self._store.see_pod(await self._cluster.make_master(order))
        except CreationFailed as failed:
            _log.warning("Could not make another master", extra={"run": order.plan.run.uid, "error": str(failed)})
            return False
        _log.info("Made another master", extra={"run": order.plan.run.uid, "epoch": action.epoch})
        return True

    async def _fetch_config_map(self, loadtest: LoadTest) -> Mapping[str, Any] | None:
        kind = loadtest.spec.source.kind
        if not isinstance(kind, ConfigMapSource):
            return None
        return await self._cluster.fetch_config_map(loadtest.namespace, kind.name)

    async def _create(self, look: Look, action: CreateChildren) -> bool:
        loadtest, memory = _accepted(look), look.memory
        files = memory.files if memory.files is not None else script_files(loadtest, None)
        memory.source_digest = files_digest(files) if files else ""
        order = self._order(look, action, files, workers=action.workers)
        try:
            pods = await self._cluster.make_children(order, action.workers)
        except CreationFailed as failed:
            memory.creation, memory.creation_ns = failed.problem, self._clock.monotonic_ns()
            pods = failed.pods
            _log.warning("Could not create children", extra={"run": order.plan.run.uid, "error": str(failed)})
        else:
            memory.creation = None
            _log.info("Created children", extra={"run": order.plan.run.uid, "pods": len(pods)})
        for pod in pods:
            self._store.see_pod(pod)
        return memory.creation is None

    async def _replace(self, look: Look, action: CreateWorkers) -> None:
        """Make pods of workers in a run that goes on; what fails is tried again at the next look."""
        loadtest, memory = _accepted(look), look.memory
        try:
            if memory.files is None:
                # Only their names matter here: what is in them, the run's Secret holds.
                memory.files = script_files(loadtest, await self._fetch_config_map(loadtest))
            order = self._order(look, action, memory.files, workers=look.seen.held.planned)
            pods = await self._cluster.make_workers(order, action.workers)
        except CreationFailed as failed:
            pods, memory.creation = failed.pods, failed.problem
            _log.warning("Could not make workers", extra={"test": look.seen.test.name, "error": str(failed)})
        except SourceMissing as missing:
            pods = []
            _log.warning("Could not make workers", extra={"test": look.seen.test.name, "error": str(missing)})
        else:
            memory.creation = None
            _log.info("Made workers", extra={"test": look.seen.test.name, "pods": len(pods)})
        for pod in pods:
            self._store.see_pod(pod)

    def _order(
        self,
        look: Look,
        action: CreateChildren | CreateMaster | CreateWorkers,
        files: Mapping[str, bytes],
        *,
        workers: int,
    ) -> RunOrder:
        """Return the order of a run that was planned with so many workers (0: that the spec asks for).

        Once it has pods, whoever comes shows what they show.
        """
        order = make_order(
            _planned_with(_accepted(look), workers),
            uid=look.seen.test.uid,
            run=action.run,
            epoch=action.epoch,
            files=files,
            runner=self._runner,
        )
        made = [pod for pod in look.seen.pods if pod.run == action.run]
        if not made:
            return order
        # Who has signed for the run; empty when its TLS is off.
        return order.leased(max(pod.lease_ns for pod in made)).signed_by(made[0].authority)

    async def _delete(self, look: Look, action: DeletePods) -> None:
        namespace, grace = look.seen.test.namespace, action.grace_seconds
        deletions = (self._cluster.delete_pod(namespace, *pod, grace_seconds=grace) for pod in action.pods)
        told = {"test": look.seen.test.name, "pods": len(action.pods)}
        try:
            await asyncio.gather(*deletions)
        except WorldError as error:
            if is_tidying(action):
                raise
            # The master must hear of the kill all the same.
            _log.warning("Could not delete pods", extra={**told, "error": str(error)})
        else:
            _log.info("Deleted pods", extra=told)

    async def _steer(self, look: Look, action: Steer) -> None:
        is_kill = action.stop == Reason.KILLED
        try:
            async with asyncio.timeout(KILL_SECONDS if is_kill else None):
                await self._masters.steer(look.seen.test.uid, action)
        except (WorldError, TimeoutError) as error:
            # The wish stands, and is handed over as soon as the master is heard again.
            _log.warning("Did not steer master", extra={"test": look.seen.test.name, "error": str(error)})

    async def _save_report(self, look: Look, action: SaveReport) -> None:
        memory, test = look.memory, look.seen.test
        memory.report_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout(REPORT_SECONDS):
                report = await self._masters.fetch_report(test.uid)
            log = await self._log_of(test)
            async with asyncio.timeout(REPORT_SECONDS):
                await self._cluster.save_report(test, action.run, report, gzip_log=log or b"")
        except (LoadstoneError, TimeoutError) as error:
            memory.report = ReportState.TAKEN if isinstance(error, NameHeld) else ReportState.FAILED
            _log.warning("Did not save report", extra={"test": test.name, "run": action.run, "error": str(error)})
        else:
            memory.report = ReportState.WITHOUT_LOG if log is None else ReportState.SAVED

    async def _log_of(self, test: LoadTestView) -> bytes | None:
        """Return the end of the log, None if it does not come; a report without it is worth keeping all the same."""
        try:
            async with asyncio.timeout(LOG_SECONDS):
                return await self._masters.fetch_log(test.uid, LOG_MOST_BYTES)
        except (WorldError, TimeoutError) as error:
            _log.warning("Did not fetch log", extra={"test": test.name, "error": str(error)})
            return None

    async def _tell_stored(self, look: Look) -> None:
        try:
            await self._masters.tell_stored(look.seen.test.uid)
        except WorldError as error:
            _log.warning("Did not reach master", extra={"test": look.seen.test.name, "error": str(error)})

    def _newest(self, look: Look) -> dict[str, object]:
        return self._store.newest(look.body)


def _planned_with(loadtest: LoadTest, workers: int) -> LoadTest:
    """Return a LoadTest that asks for so many workers (0: as many as it does), however many are wanted by now."""
    spec = loadtest.spec
    planned = replace(spec.workers, replicas=workers or spec.workers.replicas)
    return replace(loadtest, spec=replace(spec, workers=planned))


def _accepted(look: Look) -> LoadTest:
    """Return the spec of a look; actions that need one are decided only when it was accepted."""
    if look.loadtest is None:
        raise AssertionError("decided on the pods of a spec that was rejected")
    return look.loadtest

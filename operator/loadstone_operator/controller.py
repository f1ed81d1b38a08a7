"""Observe, decide, act: look at each LoadTest again whenever something may have changed, and do what was decided.

The shell of the operator: it knows no condition of the domain, only when to look, and what to do when it fails.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import WorldError
from loadstone_operator import naming
from loadstone_operator.actions import CreateChildren, End, Progress, Refuse, is_tidying
from loadstone_operator.cluster.reading import has_ended, owner_of
from loadstone_operator.cluster.store import key_of
from loadstone_operator.decision import decide
from loadstone_operator.ports import StatusConflict
from loadstone_operator.status.projection import Moment, is_urgent, project
from loadstone_operator.status.story import tales
from loadstone_operator.versions import uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loadstone_core.clock import Clock
    from loadstone_operator.acting import Actor
    from loadstone_operator.actions import Update
    from loadstone_operator.capacity import Ledger
    from loadstone_operator.classes import Classes
    from loadstone_operator.cluster.lease import Lease
    from loadstone_operator.cluster.store import Store
    from loadstone_operator.looking import Look, Looker
    from loadstone_operator.ports import Body, Cluster, Key
    from loadstone_operator.telemetry.health import WatchProgress
    from loadstone_operator.telemetry.metrics import Metrics
    from loadstone_operator.workqueue import WorkQueue

_log = logging.getLogger(__name__)

WORKERS: Final = 32
RESYNC_SECONDS: Final = 120.0
# Whatever has orphaned one pod is about to orphan its siblings.
ORPHANED_SECONDS: Final = 1.0
# Figures move all the time; a status is written for their sake no more often than this, and all of them together no
# more than about once a second: what an operator costs must not grow with the runs that it watches.
PROGRESS_SECONDS: Final = 2
# Masters report as often as statuses may be written, give or take.
_EARLY: Final = 0.75

_SECOND: Final = 1_000_000_000
_LONGEST_BACKOFF_SECONDS: Final = 30.0
# So many failures in a row lead to the longest wait; more need not be counted.
_FAILURES_COUNTED: Final = 6


def progress_seconds(runs: int) -> float:
    """Return how old figures in a status may be while so many runs are followed: 2 s, doubled with each doubling.

    A few steps only, each a multiple of those before it: masters that were asked at different times report together.
    """
    return float(1 << (max(PROGRESS_SECONDS, runs).bit_length() - 1))


class Controller:
    """The loop around all LoadTests."""

    def __init__(  # noqa: PLR0913 (the one place where all collaborators meet)
        self,
        *,
        cluster: Cluster,
        store: Store,
        classes: Classes,
        looker: Looker,
        actor: Actor,
        ledger: Ledger,
        lease: Lease,
        metrics: Metrics,
        progress: WatchProgress,
        queue: WorkQueue,
        clock: Clock,
        figures_seconds: Callable[[], float] = lambda: progress_seconds(1),
    ) -> None:
        self._figures_seconds = figures_seconds
        self._cluster = cluster
        self._store = store
        self._classes = classes
        self._looker = looker
        self._actor = actor
        self._ledger = ledger
        self._lease = lease
        self._metrics = metrics
        self._progress = progress
        self._clock = clock
        self._queue = queue
        self._failures: dict[str, int] = {}  # in a row, by UID
        self._background: set[asyncio.Task[None]] = set()
        self._orphaned = asyncio.Event()
        self.is_primed = False

    def heard_test(self, kind: str | None, body: Body) -> None:
        """Take in an event of the LoadTests' watch."""
        if kind == "DELETED":
            self._progress.vanished(uid_of(body))
            key = self._store.see_test(body)
            self._store.lose_test(key, uid_of(body))
        else:
            self._progress.watched(uid_of(body), version_of(body))
            if self._store.holds(body):
                # The echo of what was written or listed here, and looked at then.
                return
            key = self._store.see_test(body)
        self._queue.add(key)

    def heard_class(self, kind: str | None, body: Body) -> None:
        """Take in an event of the LoadTestClasses' watch."""
        if kind == "DELETED":
            self._classes.lose(body)
            self._wake_all()
        elif self._classes.see(body):
            self._wake_all()

    def heard_pod(self, kind: str | None, body: Body) -> None:
        """Take in an event of the pods' watch."""
        key = self._store.lose_pod(body) if kind == "DELETED" else self._store.see_pod(body)
        if key is not None:
            self._queue.add(key)
        if kind != "DELETED" and not owner_of(body) and "deletionTimestamp" not in body["metadata"]:
            self._orphaned.set()
        if kind == "DELETED" or has_ended(body):
            # Of whatever test it was, gone or finished: its place is free now.
            self._wake_waiting()

    async def run(self) -> None:
        """Work for ever; every task that ends unexpectedly ends this too."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._resync_for_ever(), name="resync")
            for number in range(WORKERS):
                tasks.create_task(self._work_for_ever(), name=f"reconcile {number}")

    async def resync(self) -> None:
        """Compare what is remembered with what exists, and look again at everything that is not at rest.

        Whatever comes after that, the operator may work then.
        """
        await self._resync_classes()
        known = self._store.snapshot()
        # Pods first: then every pod's LoadTest that still exists is in the list that follows.
        pods = await self._cluster.list_pods()
        tests = await self._cluster.list_tests()
        touched = self._store.settle(known, tests, pods)
        self._progress.listed((uid_of(body), version_of(body)) for body in tests)
        for key in touched:
            self._queue.add(key)
        self._forget_the_gone()
        self._survey(tests)
        if not self.is_primed:
            # Another operator may have worked meanwhile.
            self._looker.begin_anew()
            self._hold_what_runs()
            self.is_primed = True
        await self._delete_orphans(pods)

    async def _resync_classes(self) -> None:
        names, was_readable = self._classes.names(), self._classes.is_readable
        try:
            bodies = await self._cluster.list_classes()
        except WorldError as error:
            if not self.is_primed:
                # A switch may be on: nothing begins before that is known.
                raise
            _log.warning("Could not list classes; goes by what is known", extra={"cause": str(error)})
            return
        if bodies is None and was_readable:
            _log.error("May read LoadTestClasses no more; goes by what is known")
        if self._classes.settle(names, bodies):
            self._wake_all()

    async def reconcile(self, key: Key) -> float | None:
        """Look at one LoadTest and do what it needs; return in how many seconds to look again, if so."""
        body = self._store.test(key)
        if body is None:
            self._forget_the_gone()
            return None
        look = self._looker.look(key, body)
        if look.has_freed:
            self._wake_waiting()
        decision = decide(look.seen)
        for action in decision.actions:
            if isinstance(action, CreateChildren):
                self._ledger.hold(look.seen.test.uid, action.run, action.workers)
        # A verdict is told before anything is tidied up after it.
        is_end = isinstance(decision.update, End | Refuse)
        again = await self._write(look, decision.update) if is_end and decision.update else None
        goes_on = await self._actor.act(look, [each for each in decision.actions if not is_tidying(each)])
        if not goes_on:
            return 0.0
        if decision.update is not None and not is_end:
            again = await self._write(look, decision.update)
        due = min((each for each in (again, decision.recheck_seconds) if each is not None), default=None)
        if due is not None:
            # What time decides does not wait until everything can be tidied up.
            self._queue.add_later(key, due)
        await self._actor.tidy(look, [each for each in decision.actions if is_tidying(each)])
        return due

    async def _write(self, look: Look, update: Update) -> float | None:
        """Write the status if it says something new; return when to come back if it was too early for its figures."""
        body = self._store.newest(look.body)
        old: dict[str, Any] = body.get("status") or {}
        moment = Moment(self._clock.wall_ns(), look.created_ns, look.memory.source_digest)
        new = project(old, look.seen, update, moment)
        if new == old:
            return None
        now = self._clock.monotonic_ns()
        waited = (now - look.memory.written_ns) / _SECOND
        pause = _EARLY * self._figures_seconds()
        if waited < pause and not is_urgent(old, new):
            return pause - waited
        written = await self._cluster.write_status(body, new)
        look.memory.written_ns = now
        if isinstance(update, Progress) and update.epoch:
            look.memory.epoch_reserved = update.epoch
        self._store.see_test(written)
        for tale in tales(old, new):
            self._in_background(self._cluster.tell(written, tale))
        if new.get("finished") and not old.get("finished"):
            self._metrics.ended(str(new.get("verdict")))
            _log.info("Finished run", extra={"test": look.seen.test.name, "verdict": str(new.get("verdict"))})
        if is_urgent(old, new):
            # What the status says now may ask for a next step; its figures never do.
            self._queue.add(key_of(written))
        return None

    async def _work_for_ever(self) -> None:
        while True:
            await self._lease.wait_until_held()
            key = await self._queue.take()
            try:
                if self._lease.is_held and self.is_primed:
                    await self._reconcile_safely(key)
                else:
                    self._queue.add_later(key, 0.2)
            finally:
                self._queue.done(key)

    async def _reconcile_safely(self, key: Key) -> None:
        """Reconcile; whatever goes wrong with one LoadTest is tried again later and harms no other."""
        began = self._clock.monotonic_ns()
        body = self._store.test(key)
        uid = uid_of(body) if body is not None else ""
        try:
            again = await self.reconcile(key)
        except StatusConflict:
            result = "conflict"
            await self._refresh(key)
        except Exception as error:  # noqa: BLE001 (a service loop)
            result = "error"
            failures = self._failures[uid] = min(self._failures.get(uid, 0) + 1, _FAILURES_COUNTED)
            told = {"test": str(key), "cause": str(error)}
            _log.warning("Could not reconcile", exc_info=not isinstance(error, WorldError), extra=told)
            self._queue.add_later(key, min(0.5 * 2**failures, _LONGEST_BACKOFF_SECONDS))
        else:
            result = "ok"
            self._failures.pop(uid, None)
            if again is not None:
                self._queue.add_later(key, again)
        self._metrics.reconciled(result, (self._clock.monotonic_ns() - began) / _SECOND)

    async def _refresh(self, key: Key) -> None:
        """Read a LoadTest that has changed under a decision, and look again."""
        try:
            body = await self._cluster.fetch_test(key)
        except WorldError:
            self._queue.add_later(key, 1.0)
            return
        if body is None:
            self._store.lose_test(key)
        else:
            self._store.see_test(body)
        self._queue.add(key)

    async def _resync_for_ever(self) -> None:
        """List everything at the start, whenever the lease was regained, of an orphan, and every two minutes."""
        while True:
            if not self._lease.is_held:
                self.is_primed = False
            await self._lease.wait_until_held()
            try:
                await self.resync()
            except Exception as error:  # noqa: BLE001 (a service loop)
                _log.warning("Could not list", exc_info=not isinstance(error, WorldError), extra={"cause": str(error)})
                await asyncio.sleep(1.0)
                continue
            await self._wait_for_resync()

    async def _wait_for_resync(self) -> None:
        waits = [
            asyncio.create_task(self._lease.wait_while_held(RESYNC_SECONDS)),
            asyncio.create_task(self._orphaned.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if self._orphaned.is_set():
                await asyncio.sleep(ORPHANED_SECONDS)
                self._orphaned.clear()
        finally:
            for wait in waits:
                wait.cancel()

    def _hold_what_runs(self) -> None:
        """Give every run that has begun its workers before anybody else may ask for some."""
        for key in self._store.all():
            body = self._store.test(key)
            if body is None or (body.get("status") or {}).get("finished"):
                continue
            try:
                self._looker.look(key, body)
            except Exception as error:  # noqa: BLE001 (of one LoadTest, and met again when it is reconciled)
                _log.warning("Could not look", exc_info=True, extra={"test": str(key), "cause": str(error)})

    async def _delete_orphans(self, pods: list[Body]) -> None:
        """Delete pods whose LoadTest is gone without them, as after `kubectl delete --cascade=orphan`."""
        await asyncio.gather(*(self._delete_orphan(body) for body in pods if self._is_orphan(body)))

    async def _delete_orphan(self, body: Body) -> None:
        """Delete one orphan; if somebody refuses that, nothing else waits for it, and the next resync tries again."""
        metadata = body["metadata"]
        told = {"pod": metadata["name"], "namespace": metadata["namespace"]}
        try:
            await self._cluster.delete_pod(metadata["namespace"], metadata["name"], uid_of(body))
        except WorldError as error:
            _log.warning("Could not delete orphan", extra={**told, "cause": str(error)})
        else:
            _log.warning("Deleted orphan", extra=told)

    def _is_orphan(self, body: Body) -> bool:
        metadata = body["metadata"]
        uid = owner_of(body) or str((metadata.get("labels") or {}).get(naming.LABEL_UID, ""))
        return self._store.key_of_uid(uid) is None and "deletionTimestamp" not in metadata

    def _forget_the_gone(self) -> None:
        for uid in [uid for uid in self._failures if self._store.key_of_uid(uid) is None]:
            del self._failures[uid]
        freed = [self._looker.forget(uid) for uid in self._looker.known() if self._store.key_of_uid(uid) is None]
        if any(freed):
            self._wake_waiting()

    def _wake_all(self) -> None:
        for key in self._store.all():
            self._queue.add(key)

    def _wake_waiting(self) -> None:
        for uid in self._ledger.waiting():
            key = self._store.key_of_uid(uid)
            if key is not None:
                self._queue.add(key)

    def _survey(self, tests: list[Body]) -> None:
        phases: dict[str, int] = {}
        for body in tests:
            phase = str((body.get("status") or {}).get("phase") or "Pending")
            phases[phase] = phases.get(phase, 0) + 1
        self._metrics.surveyed(phases, queue=len(self._queue), is_leader=self._lease.is_held)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quietly(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """Do what only tells a story; that it could not be told is logged and no more."""
    try:
        await work
    except WorldError as error:
        _log.warning("Could not post event", extra={"cause": str(error)})

"""Remember the newest LoadTests and pods that were seen, so that deciding needs no reading. Nothing is called here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from loadstone_core.units import SECOND
from loadstone_operator import naming
from loadstone_operator.cluster.reading import owner_of, read_pod, trim_test
from loadstone_operator.ports import Key
from loadstone_operator.versions import precedes, uid_of, version_of
from loadstone_operator.wishes import WorkerEnd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loadstone_operator.observation import PodView
    from loadstone_operator.ports import Body

# A worker's own lease ends its load, and its engines within seconds after that. A short one may have been renewed for a
# while after the deletion, by a master that had not noticed it.
HUNG_LEAST_NS: Final = 60 * SECOND
_BEYOND_A_LEASE_NS: Final = 30 * SECOND


class Store:
    """LoadTests by key, their pods by the LoadTest's UID, and the workers that are known to have ended."""

    def __init__(self) -> None:
        self._tests: dict[Key, Body] = {}
        self._uids: dict[str, Key] = {}
        self._pods: dict[str, dict[str, PodView]] = {}
        self._versions: dict[str, str] = {}
        self._ended: dict[str, dict[tuple[int, int, int], WorkerEnd]] = {}
        self._masters_ended: dict[str, tuple[int, int]] = {}  # run and epoch

    def see_test(self, body: Mapping[str, Any]) -> Key:
        """Take in a LoadTest, unless a newer state of it is known."""
        key = key_of(body)
        held = self._tests.get(key)
        if held is not None and _is_older(body, held):
            return key
        if held is not None and uid_of(held) != uid_of(body):
            self._uids.pop(uid_of(held), None)
        self._tests[key] = trim_test(body)
        self._uids[uid_of(body)] = key
        self._forget_runs_before(body)
        return key

    def holds(self, body: Mapping[str, Any]) -> bool:
        """Say whether this very state of a LoadTest is known already."""
        held = self._tests.get(key_of(body))
        return held is not None and uid_of(held) == uid_of(body) and version_of(held) == version_of(body)

    def lose_test(self, key: Key, uid: str | None = None) -> None:
        """Forget a LoadTest that is gone; not its successor of the same name."""
        held = self._tests.get(key)
        if held is not None and uid in (None, uid_of(held)):
            del self._tests[key]
            self._uids.pop(uid_of(held), None)
            self._forget_strangers()

    def see_pod(self, body: Mapping[str, Any]) -> Key | None:
        """Take in a pod, unless a newer state of it is known; return the key of its LoadTest, if that is known."""
        owner, name = owner_of(body), str(body["metadata"]["name"])
        held = self._versions.get(uid_of(body))
        if held is None or not precedes(version_of(body), held):
            pod = read_pod(body)
            self._pods.setdefault(owner, {})[name] = pod
            self._versions[uid_of(body)] = version_of(body)
            self._note_end(owner, pod)
        return self._uids.get(owner)

    def lose_pod(self, body: Mapping[str, Any]) -> Key | None:
        """Forget a pod that is gone; how it ended is remembered."""
        owner, name = owner_of(body), str(body["metadata"]["name"])
        pod = read_pod(body)
        self._note_end(owner, pod)
        pods = self._pods.get(owner, {})
        if name in pods and pods[name].uid == pod.uid:
            del pods[name]
        if not pods:
            self._pods.pop(owner, None)
        self._versions.pop(pod.uid, None)
        return self._uids.get(owner)

    def test(self, key: Key) -> Body | None:
        """Return a LoadTest, or None if there is none."""
        return self._tests.get(key)

    def newest(self, body: Body) -> Body:
        """Return the newest known state of this very LoadTest."""
        held = self._tests.get(key_of(body))
        return held if held is not None and uid_of(held) == uid_of(body) else body

    def key_of_uid(self, uid: str) -> Key | None:
        """Return where the LoadTest of this UID is, or None if it is not known."""
        return self._uids.get(uid)

    def all(self) -> tuple[Key, ...]:
        """Return all LoadTests."""
        return tuple(self._tests)

    def pods(self, uid: str) -> tuple[PodView, ...]:
        """Return the pods of a LoadTest by name."""
        held = self._pods.get(uid, {})
        return tuple(held[name] for name in sorted(held))

    def ended(self, uid: str, run: int) -> tuple[WorkerEnd, ...]:
        """Return every worker of a run whose pod has ended before its work was done."""
        ends = self._ended.get(uid, {})
        return tuple(ends[place] for place in sorted(ends) if place[0] == run)

    def masters_ended(self, uid: str, run: int) -> int:
        """Return the epoch up to which every master of a run is known to have ended; 0: none is."""
        of_run, epoch = self._masters_ended.get(uid, (run, 0))
        return epoch if of_run == run else 0

    def workers_alive(self, wall_ns: int) -> dict[tuple[str, int], int]:
        """Return how many workers' pods have not ended, by UID of the LoadTest (it may be gone) and number of its run.

        A pod that was deleted long ago and is still there is on a node that has fallen silent. The lease has ended its
        load by then, so it is not waited for.
        """
        alive: dict[tuple[str, int], int] = {}
        for owner, pods in self._pods.items():
            for pod in pods.values():
                is_hung = 0 < pod.gone_by_ns < wall_ns - max(HUNG_LEAST_NS, pod.lease_ns + _BEYOND_A_LEASE_NS)
                if pod.role == naming.ROLE_WORKER and not pod.is_terminal and not is_hung:
                    alive[owner, pod.run] = alive.get((owner, pod.run), 0) + 1
        return alive

    def snapshot(self) -> tuple[frozenset[Key], frozenset[str]]:
        """Return the keys and the UIDs of pods that are known now, for `settle`."""
        return frozenset(self._tests), frozenset(self._versions)

    def settle(
        self,
        known: tuple[frozenset[Key], frozenset[str]],
        tests: Iterable[Mapping[str, Any]],
        pods: Iterable[Mapping[str, Any]],
    ) -> set[Key]:
        """Take in whole lists; return the keys that may need something: changed, vanished, or not at rest.

        Only what was `known` before the lists were asked for can be missing from them.
        """
        versions = {key: version_of(body) for key, body in self._tests.items()}
        touched: set[Key] = set()
        listed: set[Key] = set()
        alive: set[str] = set()
        for body in tests:
            key = self.see_test(body)
            listed.add(key)
            is_at_rest = bool((body.get("status") or {}).get("finished")) and not self._pods.get(uid_of(body))
            if not is_at_rest or versions.get(key) != version_of(body):
                touched.add(key)
        for body in pods:
            alive.add(uid_of(body))
            self.see_pod(body)
        gone = known[0] - listed
        for key in gone:
            self.lose_test(key)
        for owner, held in list(self._pods.items()):
            self._drop(owner, [name for name, pod in held.items() if pod.uid in known[1] - alive])
        self._forget_strangers()
        return touched | gone

    def _drop(self, owner: str, names: list[str]) -> None:
        held = self._pods[owner]
        for name in names:
            self._versions.pop(held.pop(name).uid, None)
        if not held:
            del self._pods[owner]

    def _forget_runs_before(self, body: Mapping[str, Any]) -> None:
        """Forget how workers have ended in runs before the one that a status is about: nobody asks for them again."""
        run = ((body.get("status") or {}).get("run") or {}).get("number") or 0
        ends = self._ended.get(uid_of(body), {})
        for place in [place for place in ends if place[0] < run]:
            del ends[place]

    def _forget_strangers(self) -> None:
        """Forget how pods have ended that are gone with their LoadTest: the last of them are heard of after it."""
        for ended in (self._ended, self._masters_ended):
            for owner in ended.keys() - self._uids.keys() - self._pods.keys():
                del ended[owner]

    def _note_end(self, owner: str, pod: PodView) -> None:
        if pod.role == naming.ROLE_MASTER and pod.is_terminal and pod.is_sole:
            newest = max(self._masters_ended.get(owner, (0, 0)), (pod.run, pod.epoch))
            self._masters_ended[owner] = newest
        # Only once no container runs: until then the agent may still hand over what its engines did.
        if pod.role != naming.ROLE_WORKER or not pod.is_terminal or pod.end is None or not pod.end.exit_code:
            return
        self._ended.setdefault(owner, {})[pod.run, pod.worker, pod.attempt] = WorkerEnd(
            pod.worker, pod.attempt, pod.end.reason, pod.end.message, pod.end.exit_code
        )


def key_of(body: Mapping[str, Any]) -> Key:
    """Return where an object is."""
    return Key(str(body["metadata"].get("namespace", "")), str(body["metadata"]["name"]))


def _is_older(new: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    return uid_of(new) == uid_of(held) and precedes(version_of(new), version_of(held))

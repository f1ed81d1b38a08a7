"""Know who does which lot of the load, and let lots change hands. Pure.

A lot is asked back first, then given up, which its holder has to acknowledge, and only then somebody else's: so no two
ever do it, and the load is short for a moment and never too much. Who is there, and who has ended, knows `roster`; how
a lot is divided, `loadstone_core.load.lots`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from loadstone_core.load.lots import Lot, Share, deal
from loadstone_core.load.share import slot_of
from loadstone_runner.master.grants import Place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from loadstone_protocol.messages import EngineNews

# So that a version of an earlier master of the run is never taken for one of this.
VERSIONS_OF_AN_EPOCH: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class _Tenure:
    """One lot, and in whose hands it is.

    Attributes:
        home: the engine whose slot it comes from.
        holder: who does it, None if nobody does; `attempt` is that of its worker.
        from_ns: since when.
        told: version of the holder's shares from which on it has the lot.
        follows: the holder has said so.
        asked_back: version from which on it does not have it any more; 0: it may keep it.
    """

    lot: Lot
    home: Place
    holder: Place | None
    attempt: int = 1
    from_ns: int = 0
    told: int = 0
    follows: bool = False
    asked_back: int = 0


class Shares:
    """The lots of one run. In the beginning each engine holds the one of its slot."""

    def __init__(self, workers: int, engines: int, *, whole: int, epoch: int) -> None:
        """Deal the slots out; `whole` is the most users, or iterations a second, that the load has."""
        self._whole = whole
        self._slots = workers * engines
        first = epoch * VERSIONS_OF_AN_EPOCH + 1
        self._versions = [first] * workers
        places = [Place(worker, engine) for worker in range(workers) for engine in range(engines)]
        self._tenures = [
            _Tenure(Lot(slot_of(*place, workers), self._slots), place, place, told=first) for place in places
        ]

    def of(self, worker: int, attempt: int) -> tuple[int, tuple[Share, ...]]:
        """Return what an attempt of a worker is to know now: the version of its shares, and what its engines do."""
        return self._versions[worker], tuple(
            Share(each.holder.engine, each.lot, each.from_ns)
            for each in self._tenures
            if each.holder is not None
            and (each.holder.worker, each.attempt) == (worker, attempt)
            and not each.asked_back
        )

    @property
    def are_settled(self) -> bool:
        """Whether every lot is done by somebody who has said so."""
        return all(each.holder is not None and each.follows and not each.asked_back for each in self._tenures)

    def holds(self, worker: int, attempt: int) -> bool:
        """Say whether an attempt of a worker may still do anything of the load."""
        return any(
            each.holder is not None and (each.holder.worker, each.attempt) == (worker, attempt)
            for each in self._tenures
        )

    def release(self, worker: int, attempt: int, engine: int | None = None) -> bool:
        """Take what an attempt of a worker held, or one engine of it: it is known to have ended.

        Return whether it held anything.
        """
        found = False
        for place, each in enumerate(self._tenures):
            holder = each.holder
            if holder is None or (holder.worker, each.attempt) != (worker, attempt):
                continue
            if engine in {None, holder.engine}:
                self._tenures[place] = replace(each, holder=None, follows=False, asked_back=0)
                found = True
        if found:
            self._versions[worker] += 1
        return found

    def hear(self, worker: int, attempt: int, news: EngineNews) -> bool:
        """Take in what an engine follows, and whether users are left of what it gave up; return whether it is news."""
        before = tuple(self._tenures)
        for place, each in enumerate(self._tenures):
            if each.holder != (worker, news.engine) or each.attempt != attempt:
                continue
            if each.asked_back:
                if news.holding >= each.asked_back and not news.leaving:
                    self._tenures[place] = replace(each, holder=None, follows=False, asked_back=0)
            elif not each.follows and news.holding >= each.told:
                self._tenures[place] = replace(each, follows=True)
        return tuple(self._tenures) != before

    def settle(self, able: Mapping[Place, int], *, from_ns: int, moves: bool) -> set[int]:
        """Give what nobody does to whoever is there, and ask back what belongs to somebody who has come again.

        Args:
            able: engines that can do load, with the attempts of their workers.
            from_ns: when it begins for those who get something, since the start of the load.
            moves: whether a lot may go elsewhere when its home is not there.

        Returns:
            The workers whose shares have changed.
        """
        changed = self._ask_back(able) | self._send_home(able, from_ns)
        if moves:
            changed |= self._deal(able, from_ns)
        return changed

    def _ask_back(self, able: Collection[Place]) -> set[int]:
        away = [
            place
            for place, each in enumerate(self._tenures)
            if each.holder not in {None, each.home} and each.home in able and not each.asked_back
        ]
        asked = {holder.worker for place in away if (holder := self._tenures[place].holder)}
        self._revise(asked)
        for place in away:
            holder = self._tenures[place].holder
            if holder is not None:
                self._tenures[place] = replace(self._tenures[place], asked_back=self._versions[holder.worker])
        return asked

    def _send_home(self, able: Mapping[Place, int], from_ns: int) -> set[int]:
        free = [place for place, each in enumerate(self._tenures) if each.holder is None and each.home in able]
        return self._give(
            [(place, self._tenures[place].lot, self._tenures[place].home) for place in free], able, from_ns
        )

    def _deal(self, able: Mapping[Place, int], from_ns: int) -> set[int]:
        free = {each.lot: place for place, each in enumerate(self._tenures) if each.holder is None}
        if not free:
            return set()
        held = {
            one: [each.lot for each in self._tenures if each.holder == one and each.attempt == able[one]]
            for one in able
        }
        homes = {lot: self._tenures[place].home for lot, place in free.items()}
        dealt = deal(free, held, whole=self._whole, slots=self._slots)
        if not dealt:
            return set()
        self._tenures = [each for each in self._tenures if each.holder is not None]
        first = len(self._tenures)
        for lot, _ in dealt:
            self._tenures.append(_Tenure(lot, next(home for of, home in homes.items() if _is_piece(lot, of)), None))
        return self._give([(first + turn, lot, place) for turn, (lot, place) in enumerate(dealt)], able, from_ns)

    def _give(self, given: list[tuple[int, Lot, Place]], able: Mapping[Place, int], from_ns: int) -> set[int]:
        changed = {place.worker for _, _, place in given}
        self._revise(changed)
        for at, lot, place in given:
            told = self._versions[place.worker]
            home = self._tenures[at].home
            self._tenures[at] = _Tenure(lot, home, place, attempt=able[place], from_ns=from_ns, told=told)
        return changed

    def _revise(self, workers: Collection[int]) -> None:
        for worker in workers:
            self._versions[worker] += 1


def _is_piece(piece: Lot, whole: Lot) -> bool:
    return piece.parts % whole.parts == 0 and piece.first % whole.parts == whole.first

"""Know who does which lot of the load, and let lots change hands. Pure.

A lot is asked back first, then given up, which its holder has to acknowledge, and only then somebody else's: so no two
ever do it, and the load is short for a moment and never too much. Who is there, and who has ended, knows `roster`; how
a lot is divided, `loadstone_core.load.lots`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.load.lots import PIECES_MAX, Lot, Share, deal, pieces_for, spread
from loadstone_core.load.share import slot_of
from loadstone_runner.master.books import Place
from loadstone_runner.master.claims import sort_out

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from loadstone_protocol.messages import EngineNews

# So that a version of an earlier master of the run is never taken for one of this.
VERSIONS_OF_AN_EPOCH: Final = 1 << 32


@dataclass(slots=True)
class _Tenure:
    """One lot, and in whose hands it is.

    Attributes:
        home: the engine to which it belongs: in the beginning the one whose slot it comes from.
        holder: who does it, None if nobody does; `attempt` is that of its worker.
        from_ns: since when.
        told: version of the holder's shares from which on it has the lot.
        follows: the holder has said so.
        asked_back: version from which on it does not have it any more; 0: it may keep it.
    """

    home: Place
    holder: Place | None
    attempt: int = 1
    from_ns: int = 0
    told: int = 0
    follows: bool = False
    asked_back: int = 0


class Shares:
    """The lots of one run. In the beginning each engine holds the one of its slot.

    Heartbeats come by the thousand, so nothing here looks at all lots when nothing is to be done.

    Attributes:
        given: how often shares were given: what was kept holds as long as it stays.
        planned: among how many workers the load was divided in the beginning, and `wanted` among how many it is now.
    """

    def __init__(self, workers: int, engines: int, *, whole: int, epoch: int, most_users: int | None = None) -> None:
        """Deal the slots out; `whole` is the most users, or iterations a second, that the load has.

        Of a rate that may have `most_users`, no lot is cut so small that none of these are in it: it would do nothing.
        """
        self._whole = whole
        self._pieces_most = PIECES_MAX if most_users is None else max(1, most_users // (workers * engines))
        self._slots = workers * engines
        self.planned = self.wanted = workers
        self._engines = engines
        self._first = first = epoch * VERSIONS_OF_AN_EPOCH + 1
        self._versions = [first] * workers
        self.given = 0
        self._tenures: dict[Lot, _Tenure] = {}
        self._held: dict[int, set[Lot]] = {worker: set() for worker in range(workers)}
        for worker in range(workers):
            for engine in range(engines):
                place, lot = Place(worker, engine), Lot(slot_of(worker, engine, workers), self._slots)
                self._tenures[lot] = _Tenure(place, place, told=first)
                self._held[worker].add(lot)
        self._free: set[Lot] = set()
        self._away: set[Lot] = set()  # held by somebody else than their homes
        self._unsettled = set(self._tenures)  # free, asked back, or not known to be followed
        self._doubtful: set[Lot] = set()  # somebody may do them of whom a master before knew
        self._suspects: dict[Place, int] = {}  # who that may be, with the attempt if it is known; 0: any
        self._has_unknown_suspects = False

    def resize(self, workers: int) -> None:
        """Know so many workers, if these are more than before: the new ones have nothing yet."""
        for worker in range(len(self._versions), workers):
            self._versions.append(self._first)
            self._held[worker] = set()

    def divide(self, wanted: int) -> set[int]:
        """Let all lots belong to the engines of so many workers, about the same to each; return whose shares changed.

        Nothing changes hands by it: a slot that is cut for it stays with whoever has it, and `settle` does the rest.
        """
        places = [Place(worker, engine) for engine in range(self._engines) for worker in range(wanted)]
        self.wanted = wanted
        # A slot is cut once, so that what workers say of their lots can be told apart.
        is_even = len(self._tenures) % len(places) == 0
        changed = set() if is_even else self._cut(pieces_for(self._slots, len(places), most=self._pieces_most))
        homes = {lot: each.home for lot, each in self._tenures.items()}
        for lot, home in spread(homes, places, whole=self._whole).items():
            self._tenures[lot].home = home
        self._away = {lot for lot, each in self._tenures.items() if each.holder not in {None, each.home}}
        self.given += 1
        return changed

    def _cut(self, pieces: int) -> set[int]:
        """Cut the lots of whole slots, but for those that change hands or may be done by somebody unknown."""
        whole = [lot for lot in self._tenures if lot.parts == self._slots and lot not in self._doubtful]
        cut = [lot for lot in whole if not self._tenures[lot].asked_back] if pieces > 1 else []
        holders = {each.holder.worker for each in map(self._tenures.__getitem__, cut) if each.holder is not None}
        self._revise(holders)
        for lot in cut:
            tenure = self._tenures.pop(lot)
            held = self._held[tenure.holder.worker] if tenure.holder is not None else self._free
            told = self._versions[tenure.holder.worker] if tenure.holder is not None else 0
            held.discard(lot)
            self._unsettled.discard(lot)
            for piece in lot.cut(pieces):
                self._tenures[piece] = _Tenure(tenure.home, tenure.holder, tenure.attempt, tenure.from_ns, told)
                held.add(piece)
                self._unsettled.add(piece)
        return holders

    def of(self, worker: int, attempt: int) -> tuple[int, tuple[Share, ...]]:
        """Return what an attempt of a worker is to know now: the version of its shares, and what its engines do."""
        tenures = [(lot, self._tenures[lot]) for lot in sorted(self._held[worker])]
        return self._versions[worker], tuple(
            Share(each.holder.engine, lot, each.from_ns)
            for lot, each in tenures
            if each.holder is not None and each.attempt == attempt and not each.asked_back
        )

    def remember(self) -> dict[str, Any]:
        """Return who holds what, for `recall`, as JSON has it."""
        lots = [
            [*lot, each.home, each.holder, each.attempt, each.from_ns, each.told, each.asked_back]
            for lot, each in self._tenures.items()
        ]
        return {
            "wanted": self.wanted,
            "versions": self._versions,
            "lots": lots,
            "doubtful": sorted(self._doubtful),
        }

    def recall(self, held: Mapping[str, Any]) -> None:
        """Go on where another has dealt; who holds something will say whether it follows."""
        self.wanted = held["wanted"]
        self.resize(len(held["versions"]))
        versions = list(held["versions"])
        # Another may have known fewer workers.
        self._versions = versions + self._versions[len(versions) :]
        self._tenures.clear()
        self._held = {worker: set() for worker in self._held}
        for first, parts, home, holder, attempt, from_ns, told, asked_back in held["lots"]:
            place = None if holder is None else Place(*holder)
            lot = Lot(first, parts)
            self._tenures[lot] = _Tenure(Place(*home), place, attempt, from_ns, told, asked_back=asked_back)
            if place is not None:
                self._held[place.worker].add(lot)
        self._doubt({Lot(*each) for each in held["doubtful"]}, {})
        self._free = {lot for lot, each in self._tenures.items() if each.holder is None} - self._doubtful
        self._away = {lot for lot, each in self._tenures.items() if each.holder not in {None, each.home}}
        self._unsettled = set(self._tenures)

    def inherit(self, told: Mapping[int, tuple[int, Iterable[Share]]], *, has_resized: bool = False) -> None:
        """Go on where a master was of which nothing is kept, with the attempts of workers and what they say to do.

        What they say stays theirs. What nobody says, or two do, somebody may still do: it is given to nobody before
        everybody has followed a version of this master's own, or has ended. If the other `has_resized` the run, what
        somebody does belongs to nobody else, for all that is known, until it is divided again.
        """
        claims = {
            worker: [each for each in shares if each.engine < self._engines] for worker, (_, shares) in told.items()
        }
        known, unknown = sort_out(claims, self._slots)
        self._tenures = {lot: _Tenure(self._home_of(lot), None) for lot in unknown}
        self._held = {worker: set() for worker in self._held}
        for lot, place, from_ns in known:
            attempt, told_from = told[place.worker][0], self._versions[place.worker]
            home = place if has_resized else self._home_of(lot)
            self._tenures[lot] = _Tenure(home, place, attempt, from_ns, told_from)
            self._held[place.worker].add(lot)
        self._free = set()
        self._away = {lot for lot, place, _ in known if place != self._tenures[lot].home}
        self._unsettled = set(self._tenures)
        self._doubt(set(unknown), {worker: attempt for worker, (attempt, _) in told.items()})
        self.given += 1

    def claim(self, worker: int, attempt: int, told: Iterable[Share]) -> None:
        """Let an attempt of a worker that says late what it does go on with that, as far as it is doubtful."""
        for engine, lot, from_ns in told:
            whole = next((each for each in self._doubtful if each.has(lot)), None)
            if whole is None or engine >= self._engines or lot.parts > self._slots * PIECES_MAX:
                continue
            home = self._tenures.pop(whole).home
            pieces = set(whole.cut(lot.parts // whole.parts))
            self._tenures |= {piece: _Tenure(home, None) for piece in pieces}
            self._doubtful = self._doubtful - {whole} | pieces - {lot}
            self._unsettled = self._unsettled - {whole} | pieces
            place = Place(worker, engine)
            self._tenures[lot] = _Tenure(home, place, attempt, from_ns, self._versions[worker])
            self._held[worker].add(lot)
            if place != home:
                self._away.add(lot)
            self.given += 1

    def _doubt(self, lots: set[Lot], attempts: Mapping[int, int]) -> None:
        everybody = [Place(worker, engine) for worker in self._held for engine in range(self._engines)]
        self._doubtful = lots
        self._suspects = {place: attempts.get(place.worker, 0) for place in everybody} if lots else {}
        # An earlier attempt may still be about, and so may a worker that has said nothing.
        self._has_unknown_suspects = any(attempt != 1 for attempt in self._suspects.values())

    def _home_of(self, lot: Lot) -> Place:
        slot = lot.first % self._slots
        return Place(slot % self.planned, slot // self.planned)

    def forget_unknown(self) -> None:
        """Note that whoever has not been heard of so long that its lease is over does nothing any more."""
        self._has_unknown_suspects = False
        self._look_at_doubts()

    def _clear(self, worker: int, engine: int | None, attempt: int) -> None:
        """Note that an engine of an attempt of a worker does nothing but what this master knows of."""
        for place in [each for each in self._suspects if each.worker == worker and engine in {None, each.engine}]:
            if attempt >= self._suspects[place]:
                del self._suspects[place]
        self._look_at_doubts()

    def _look_at_doubts(self) -> None:
        if self._doubtful and not self._suspects and not self._has_unknown_suspects:
            self._free |= self._doubtful
            self._doubtful = set()

    @property
    def are_settled(self) -> bool:
        """Whether every lot is done by somebody who has said so."""
        return not self._unsettled

    def has_any(self, worker: int) -> bool:
        """Say whether a worker is to do something of the load, or has not yet said that it gave it up."""
        return bool(self._held[worker])

    def holds(self, worker: int, attempt: int) -> bool:
        """Say whether an attempt of a worker is to do something of the load, as far as is known."""
        return any(self._tenures[lot].attempt == attempt for lot in self._held[worker])

    def attempts(self) -> dict[int, int]:
        """Return the attempts of those workers that are to do something of the load, as far as is known."""
        return {worker: max(self._tenures[lot].attempt for lot in lots) for worker, lots in self._held.items() if lots}

    @property
    def may_move(self) -> bool:
        """Whether there is a lot that nobody does, or that somebody does for another."""
        return bool(self._free or self._away or self._doubtful)

    def release(self, worker: int, attempt: int, engine: int | None = None) -> bool:
        """Take what an attempt of a worker held, or one engine of it: it is known to have ended.

        Return whether it held anything; one that was wanted only while no master was there never did.
        """
        found = [
            lot
            for lot in self._held.get(worker, ())
            if self._tenures[lot].attempt == attempt and engine in {None, _engine_of(self._tenures[lot])}
        ]
        for lot in found:
            self._take(lot)
        if found:
            self._revise((worker,))
        was_doubtful = bool(self._doubtful)
        self._clear(worker, engine, attempt)
        return bool(found) or was_doubtful

    def hear(self, worker: int, attempt: int, news: EngineNews) -> bool:
        """Take in what an engine follows, and whether users are left of what it gave up; return whether it is news."""
        if not self._unsettled:
            return False
        heard = False
        for lot in self._held[worker] & self._unsettled:
            tenure = self._tenures[lot]
            if _engine_of(tenure) != news.engine or tenure.attempt != attempt:
                continue
            if tenure.asked_back and news.holding >= tenure.asked_back and not news.leaving:
                self._take(lot)
                heard = True
            elif not tenure.asked_back and news.holding >= tenure.told:
                tenure.follows = heard = True
                self._unsettled.discard(lot)
        if self._doubtful and news.holding >= self._first and not news.leaving:
            self._clear(worker, news.engine, attempt)
        return heard

    def settle(
        self, able: Mapping[Place, int], *, from_ns: int, moves: bool, leaving: Collection[int] = ()
    ) -> set[int]:
        """Give what nobody does to whoever is there, and ask back what belongs to somebody who has come again.

        Args:
            able: engines that can do load, with the attempts of their workers.
            leaving: workers that are to give up what they do as soon as somebody else can do it; none of them is able.
            from_ns: when it begins for those who get something, since the start of the load.
            moves: whether a lot may go elsewhere when its home is not there.

        Returns:
            The workers whose shares have changed.
        """
        if leaving and able:
            self._find_homes(able, leaving)
        changed = self._ask_back(able)
        home = [lot for lot in self._free if self._tenures[lot].home in able]
        changed |= self._give([(lot, self._tenures[lot].home) for lot in home], able, from_ns)
        if moves and self._free:
            changed |= self._give(self._deal(able), able, from_ns)
        return changed

    def _find_homes(self, able: Collection[Place], leaving: Collection[int]) -> None:
        """Let what those who leave do for somebody who is not there belong to whoever is, and has the least."""
        left = [lot for worker in leaving for lot in self._held[worker] if self._tenures[lot].home not in able]
        if not left:
            return
        loads = dict.fromkeys(able, 0)
        for lot, each in self._tenures.items():
            if each.home in loads:
                loads[each.home] += lot.share(self._whole)
        for lot in sorted(left):
            home = min(loads, key=lambda each: (loads[each], each))
            self._tenures[lot].home = home
            loads[home] += lot.share(self._whole)
            self._away.add(lot)

    def _ask_back(self, able: Collection[Place]) -> set[int]:
        away = [self._tenures[lot] for lot in self._away]
        wanted = [each for each in away if each.home in able and each.holder is not None and not each.asked_back]
        asked = {each.holder.worker for each in wanted if each.holder is not None}
        self._revise(asked)
        for each in wanted:
            if each.holder is not None:
                each.asked_back = self._versions[each.holder.worker]
        self._unsettled |= {lot for lot in self._away if self._tenures[lot].asked_back}
        return asked

    def _deal(self, able: Mapping[Place, int]) -> list[tuple[Lot, Place]]:
        """Cut what is free for those who are there; return who gets which piece."""
        held: dict[Place, list[Lot]] = {place: [] for place in able}
        for lot, each in self._tenures.items():
            if each.holder is not None and able.get(each.holder) == each.attempt:
                held[each.holder].append(lot)
        dealt = deal(self._free, held, whole=self._whole, slots=self._slots, most=self._pieces_most)
        homes = {lot: self._tenures[lot].home for lot in self._free}
        for lot, _ in dealt:
            if lot not in homes:
                self._tenures[lot] = _Tenure(next(home for of, home in homes.items() if of.has(lot)), None)
                self._free.add(lot)
        for lot in homes.keys() - {lot for lot, _ in dealt} if dealt else ():
            del self._tenures[lot]
            self._free.discard(lot)
            self._unsettled.discard(lot)
        return dealt

    def _give(self, given: list[tuple[Lot, Place]], able: Mapping[Place, int], from_ns: int) -> set[int]:
        changed = {place.worker for _, place in given}
        self._revise(changed)
        for lot, place in given:
            home, told = self._tenures[lot].home, self._versions[place.worker]
            self._tenures[lot] = _Tenure(home, place, attempt=able[place], from_ns=from_ns, told=told)
            self._held[place.worker].add(lot)
            self._free.discard(lot)
            self._unsettled.add(lot)
            if place != home:
                self._away.add(lot)
        return changed

    def _take(self, lot: Lot) -> None:
        tenure = self._tenures[lot]
        if tenure.holder is not None:
            self._held[tenure.holder.worker].discard(lot)
        tenure.holder, tenure.follows, tenure.asked_back = None, False, 0
        self._away.discard(lot)
        self._free.add(lot)
        self._unsettled.add(lot)

    def _revise(self, workers: Collection[int]) -> None:
        for worker in workers:
            self._versions[worker] += 1
            self.given += 1


def _engine_of(tenure: _Tenure) -> int | None:
    return None if tenure.holder is None else tenure.holder.engine

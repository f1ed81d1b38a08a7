"""Who waits for rows gets each once, in order, and hears when there are no more."""

import asyncio

from loadstone_core.stats.timeline import Second, Timeline
from loadstone_runner.master.rows import Rows


def test_a_watcher_waits_for_the_next_row_and_gets_nothing_after_the_last() -> None:
    async def story() -> None:
        timeline = Timeline()
        rows = Rows(timeline)
        timeline.observe(Second(0, requests=1))
        assert [row.second for row in await rows.since(1, 0)] == [0]
        waiting = [asyncio.create_task(rows.since(1, 1)), asyncio.create_task(rows.since(10, 0))]
        await asyncio.sleep(0)
        assert rows.tell(()) == ()
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        closed = (timeline.observe(Second(1, requests=2)),)
        assert rows.newest is None
        assert rows.tell(closed) == closed
        assert rows.newest is closed[0]
        assert [row.requests for row in await waiting[0]] == [2]
        assert not waiting[1].done()
        rows.close()
        assert [(row.width, row.requests) for row in await waiting[1]] == [(2, 3)]
        assert await rows.since(1, 2) == await rows.since(10, 1) == ()

    asyncio.run(asyncio.wait_for(story(), 20))

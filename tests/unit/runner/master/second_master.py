"""A run whose master's pod was lost in mid-load: another master waits for what two workers hold of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.runner.master.rig import Agent, Clock, Master, plan_of, start_load, turns

from loadstone_core.units import SECOND

if TYPE_CHECKING:
    from pathlib import Path

LOADED_NS = 10 * SECOND
REQUESTS = 1_000


async def begun(folder: Path, *, handles_messages: bool = False) -> tuple[Master, list[Agent]]:
    """Return a master in the load of which two workers have done 10 s, and those."""
    master = Master(folder, plan_of(2), Clock())
    agents = [Agent(master, 0), Agent(master, 1)]
    await start_load(master, agents, handles_messages=handles_messages)
    master.clock.advance(LOADED_NS / SECOND)
    for agent in agents:
        agent.beat()
        agent.report(10, 9, requests=REQUESTS)
    await turns()
    return master, agents


def another(master: Master, folder: Path) -> Master:
    """Return a master in another pod, which waits for what the workers of the one before say."""
    second = Master(folder, plan_of(2), master.clock, epoch=2)
    assert second.conductor.inheritance.is_awaited
    return second


async def waiting(folder: Path) -> tuple[Master, list[Agent]]:
    """Return a master that waits for what two workers hold of another one, and those, which have not come yet."""
    master, agents = await begun(folder / "first")
    return another(master, folder / "second"), agents


def come(agent: Agent, master: Master, **news: object) -> None:
    """Let an agent come to a master that waits, and say how its engine is; it does not say yet what it holds."""
    agent.move_to(master)
    agent.beat(**news)

"""A loop that is late with each turn keeps up with gRPC's events all the same."""

import asyncio
import subprocess
import sys
from pathlib import Path

from loadstone_runner.transport.grpc.loop import OneATurn

SLOW_TURNS = Path(__file__).with_name("slow_turns.py")
STREAMS, MESSAGES = 100, 20


def turns(loop: str) -> int:
    command = [sys.executable, SLOW_TURNS, loop, str(STREAMS), str(MESSAGES)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


def test_many_events_are_taken_in_one_turn() -> None:
    assert turns("ours") < STREAMS * MESSAGES * 0.6


def test_asyncio_alone_takes_a_turn_for_each_event() -> None:
    """What `Loop` is there for; once this fails, gRPC has mended it and the class can go."""
    assert turns("plain") > STREAMS * MESSAGES * 0.9


def test_one_a_turn_lets_others_come_between() -> None:
    async def scenario() -> list[int]:
        lock, turn, worked = OneATurn(), 0, list[int]()

        async def work() -> None:
            async with lock:
                worked.append(turn)

        workers = [asyncio.create_task(work()) for _ in range(20)]
        while not all(task.done() for task in workers):
            await asyncio.sleep(0)
            turn += 1
        return worked

    worked = asyncio.run(scenario())

    assert worked == sorted(set(worked))
    assert len(worked) == 20

"""Follow a run from another network, as the operator does: reports go to standard output, steering comes in.

`far_follower.py ADDRESS RUN_UID TLS_DIR` (empty: TLS is off). A line is a word and what it brings, messages as base64.
It ends when it has stored the outcome, or with its standard input. No test is here.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from functools import partial
from typing import TYPE_CHECKING

from loadstone_protocol.credentials import read_pems
from loadstone_protocol.follower import Follower, MasterUnreachable
from loadstone_protocol.v1 import control_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AGAIN_SECONDS = 0.2


def say(word: str, content: bytes) -> None:
    print(word, base64.b64encode(content).decode(), flush=True)


async def until_done(ask: Callable[[], Awaitable[object]]) -> object:
    """Ask until the master has answered."""
    while True:
        try:
            return await ask()
        except MasterUnreachable as error:
            say("lost", str(error).encode())
            await asyncio.sleep(AGAIN_SECONDS)


async def watch(follower: Follower) -> None:
    """Say each report, from one connection after the other; let the master leave when there is an outcome."""
    while True:
        try:
            async for report in follower.watch(figures_every_seconds=0.5):
                say("report", report.SerializeToString())
                if report.HasField("outcome"):
                    await until_done(partial(follower.stored, report.outcome.report_sha256))
                    return
        except MasterUnreachable as error:
            say("lost", str(error).encode())
        await asyncio.sleep(AGAIN_SECONDS)


async def steer(follower: Follower) -> None:
    """Pass on what is wanted of the run."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted = control_pb2.Steering.FromString(base64.b64decode(line))
        await until_done(partial(follower.steer, wanted))
        say("steered", b"")


async def main(address: str, run_uid: str, tls_dir: str) -> None:
    follower = Follower(address, run_uid, 1, pems=read_pems(tls_dir))
    tasks = [asyncio.create_task(watch(follower)), asyncio.create_task(steer(follower))]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for each in done:
        each.result()
    await follower.close()
    say("done", b"")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

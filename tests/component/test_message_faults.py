"""Custom messages between real processes while connections break and the master is killed: each is handled once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.component.distant_run import DistantRun, State, plan_of, rate, until
from tests.component.faulty_network import Faults, why_not
from tests.lacking import lacks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.once

EACH = 500  # of each of two workers to the director, and of the director to each
WORKERS = 2
POOR = Faults(loss=0.05, duplicate=0.1, reorder=0.25)
SCRIPT = f"""
import json, os, time
import gevent
from loadstone import User, constant, events, on_message, send_message, task

EACH = {EACH}
"""
SCRIPT += """
handled = {}


def note(**fields):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(fields) + chr(10))


@on_message("step")
def step(message):
    handled.setdefault(str(message.sender), []).append(message.data)
    return message.data


def send(me, to):
    sent = []
    for number in range(EACH):
        sent.append(send_message("step", number, to=to))
        gevent.sleep(0.04)
    note(sent=[me, str(to)], statuses=[each.wait(60).status for each in sent])


@events.test_start.add_listener
def begin(environment):
    for worker in (0, 1) if environment.is_director else ():
        gevent.spawn(send, "director", worker)
    if not environment.is_director:
        gevent.spawn(send, "worker", "director")


@events.test_stop.add_listener
def end(environment):
    note(handled=handled)


class Visitor(User):
    wait = constant(0.1)

    @task
    def turn(self):
        pass
"""


@pytest.fixture(autouse=True)
def networks() -> None:
    if why := why_not():
        lacks(f"faults of the network need networks of their own: {why}")


@pytest.mark.promise("messages", "master-restart", "network-faults")
def test_each_message_is_handled_once_and_in_order_though_connections_break_and_the_master_is_killed(
    tmp_path: Path,
) -> None:
    notes = tmp_path / "notes"

    async def run() -> None:
        plan = plan_of(rate(10, 100), workers=WORKERS, content=SCRIPT)
        async with DistantRun(plan, {0: POOR, 1: POOR}, content=SCRIPT, NOTES=str(notes)) as run:
            await run.until_load(1)
            # As behind a firewall that has forgotten its connections: what is on its way there is lost.
            held = run.workers[0].connections()
            run.fault(0, replace(POOR, forgets=True))
            await run.until_hung_up(0, held)
            await run.until_state(0, State.RUNNING_WORKER)
            assert not notes.exists(), "all of them are still sending"
            await run.kill_master()
            await until(lambda: notes.exists() and notes.read_text().count(chr(10)) == 2 * WORKERS, 60)
            await run.steer(stop=True, stop_reason="Stopped")
            results = await run.finish()
            noted = [json.loads(line) for line in notes.read_text().splitlines()]
            sent = [each for each in noted if "sent" in each]
            handled = [each["handled"] for each in noted if "handled" in each]
            assert len(sent) == 2 * WORKERS, (noted, results["findings"])
            assert all(each["statuses"] == ["processed"] * EACH for each in sent), sent
            by_sender = [{who: numbers == list(range(EACH)) for who, numbers in each.items()} for each in handled]
            own = {f"worker {worker} engine 0": True for worker in range(WORKERS)}
            assert sorted(by_sender, key=len) == [{"director": True}] * WORKERS + [own], handled
            assert all(State.LOST not in run.states(worker) for worker in range(WORKERS))
            assert "MasterRestarted" in results["findings"], results["findings"]

    asyncio.run(asyncio.wait_for(run(), 110))

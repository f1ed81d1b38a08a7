"""What engines print reaches the master whole and once, whoever is slow, frozen or killed meanwhile; or is counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.component.local_plan import local_plan
from tests.component.log_rig import PATIENCE, Rig
from tests.component.master_process import master_of, plan_of, users
from tests.component.scripted_agent import RUN_UID, Agent, until

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.outbox import Outbox
from loadstone_runner.local.run import LocalRun
from loadstone_runner.master.logbook import LogSummary
from loadstone_runner.spool import Kind, LogStream, Record
from loadstone_runner.transport.grpc.bulk import BulkEnd
from loadstone_runner.transport.grpc.bulk_client import BulkClient

promise = pytest.mark.promise
SECOND = 1_000_000_000
# How many small engines start and stop, of these so many under one launcher; runs of real ones. More in `make soak`.
CYCLES = int(os.environ.get("LOG_CYCLES", "500"))
AT_ONCE = 125
RUNS = int(os.environ.get("LOG_RUNS", "1"))
ENGINES = int(os.environ.get("LOG_ENGINES", "2"))  # of each worker of such a run
# For how long nobody takes the log, and in how many seconds 100,000 lines are written.
BLOCKED_SECONDS = int(os.environ.get("LOG_BLOCKED_SECONDS", "3"))
STEADY_SECONDS = int(os.environ.get("LOG_STEADY_SECONDS", "3"))
TAIL_LINES = 10_000  # that docs/logs.md promises
LINES = 99  # of each hook of a small engine, beside its two last ones

# As an engine's last moments: lines of both outputs and of logging, from hooks that run ever later, then atexit.
CYCLE = """
import atexit, logging, os, random, sys, time
name = os.environ["LOADSTONE_ENGINE"]
is_debug = int(name) % 2 == 1
logging.basicConfig(level=logging.DEBUG if is_debug else logging.INFO, format="%(message)s", stream=sys.stderr)
atexit.register(lambda: sys.stdout.write(f"{name} atexit\\n"))
for hook in ("on_stop", "quitting"):
    for number in range(99):
        print(f"{name} {hook} {number}")
        logging.debug(f"{name} {hook} debug {number}")
    time.sleep(random.random() * 0.02)
sys.stderr.write(f"{name} without an end")
for run in atexit._ncallbacks() and [atexit._run_exitfuncs]:
    run()
sys.stdout.flush()
os._exit(0)
"""


def of_cycle(engine: int) -> list[str]:
    lines = [f"{engine} {hook} {number}" for hook in ("on_stop", "quitting") for number in range(LINES)]
    if engine % 2:
        lines += [f"{engine} {hook} debug {number}" for hook in ("on_stop", "quitting") for number in range(LINES)]
    return [*lines, f"{engine} atexit", f"{engine} without an end"]


async def cycles(folder: Path, engines: int, *, seed: int) -> None:
    """Let so many engines start and stop, everything around them at random moments, and compare."""
    chance = random.Random(seed)  # noqa: S311 no secret
    async with Rig(folder, CYCLE, engines=engines) as rig:
        for start in chance.sample([rig.master, rig.agent, rig.launcher], 3):
            await start()
            await asyncio.sleep(chance.random() * 0.3)
        logs = await rig.summary()
        expected = Counter(line for engine in range(engines) for line in of_cycle(engine))
        assert Counter(rig.kept()) == expected
        size = sum(len(line) + 1 for line in expected.elements())
        assert logs == LogSummary(
            lines=expected.total(), size=size, missing_lines=0, missing_size=0, is_at_least=False, damaged=0
        )


@promise("logs-complete")
@pytest.mark.parametrize("seed", range(CYCLES // AT_ONCE))
def test_no_line_of_an_engines_last_moments_is_missing_or_there_twice(tmp_path, seed) -> None:
    asyncio.run(cycles(tmp_path, AT_ONCE, seed=seed))


LONG = """
import time
for number in range(3000):
    print(number, "x" * 60, flush=True)
    if number % 10 == 0: time.sleep(0.01)
"""


@promise("logs-complete")
@pytest.mark.parametrize("killed", ["master", "agent"])
def test_a_process_on_the_way_is_killed_and_started_again_and_nothing_is_missing_or_there_twice(
    tmp_path, killed
) -> None:
    async def check() -> None:
        async with Rig(tmp_path, LONG) as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            await until(lambda: len(rig.kept()) > 200)
            await rig.kill(killed)
            at_kill = len(rig.kept())
            await asyncio.sleep(0.5)
            await getattr(rig, killed)()
            logs = await rig.summary()
            assert at_kill < 3_000
            assert rig.kept() == [f"{number} {'x' * 60}" for number in range(3_000)]
            assert (logs.is_complete, logs.lines) == (True, 3_000)

    asyncio.run(check())


TERMINATED = """
import signal, sys, time
def end(*_):
    for number in range(200):
        print("last", number, flush=True)
        time.sleep(0.005)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
for number in range(100_000):
    print("early", number, flush=True)
    time.sleep(0.002)
"""


@promise("logs-complete")
def test_a_pod_that_is_told_to_end_loses_no_line_of_what_its_engine_says_to_that(tmp_path) -> None:
    async def check() -> None:
        async with Rig(tmp_path, TERMINATED) as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            await until(lambda: len(rig.kept()) > 100)
            await rig.configured()
            # As a kubelet does: to the first process of each container.
            for role in ("launcher", "agent"):
                rig.processes[role].terminate()
            logs = await rig.summary()
            early = [line for line in rig.kept() if line.startswith("early")]
            assert early == [f"early {number}" for number in range(len(early))]
            assert rig.kept()[len(early) :] == [f"last {number}" for number in range(200)]
            assert logs.is_complete, logs

    asyncio.run(check())


STEADY = """
import os, time
began, seconds = time.monotonic(), int(os.environ["STEADY_SECONDS"])
for number in range(100_000):
    due = began + number * seconds / 100_000
    if time.monotonic() < due:
        time.sleep(0.01)
    print(number, "z" * 60, flush=True)
"""


@promise("logs-complete")
@pytest.mark.timeout(120 + 2 * STEADY_SECONDS)
def test_a_hundred_thousand_lines_of_one_worker_come_on_to_the_last_one(tmp_path) -> None:
    async def check() -> None:
        async with Rig(tmp_path, STEADY, STEADY_SECONDS=str(STEADY_SECONDS)) as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            logs = await rig.summary(PATIENCE + STEADY_SECONDS)
            assert rig.kept()[-1] == f"99999 {'z' * 60}"
            assert logs.lines + logs.missing_lines == 100_000
            assert len(rig.kept()) == logs.lines
            # There is room for all of them, so nothing need be left out.
            assert logs.is_complete, logs

    asyncio.run(check())


KILLED = """
import os, signal
for number in range(2000):
    print(number, flush=True)
os.write(1, b"no end")
os.kill(os.getpid(), signal.SIGKILL)
"""


@promise("logs-complete")
def test_what_an_engine_had_written_when_it_was_killed_is_there_to_the_last_byte(tmp_path) -> None:
    async def check() -> None:
        async with Rig(tmp_path, KILLED) as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            logs = await rig.summary()
            assert logs.is_complete
            assert rig.kept() == [*map(str, range(2_000)), "no end"]

    asyncio.run(check())


PACED = """
import os, time
began, done = time.monotonic(), 0
for number in range(500 * int(os.environ["BLOCKED_SECONDS"])):
    due = began + number / 500
    if time.monotonic() < due:
        time.sleep(due - time.monotonic())
    print(number, "z" * 100, flush=True)
    done += time.monotonic() < due + 0.25
open(os.environ["COUNT"], "w").write(str(done))
"""


@promise("logs-complete")
def test_nobody_takes_the_log_for_a_while_and_the_engine_does_not_notice(tmp_path) -> None:
    async def check() -> None:
        count = tmp_path / "count"
        written = 500 * BLOCKED_SECONDS
        told = {"COUNT": str(count), "BLOCKED_SECONDS": str(BLOCKED_SECONDS)}
        async with Rig(tmp_path / "rig", PACED, spool_bytes=64 * 1024, **told) as rig:
            await rig.agent()
            await rig.launcher()
            await until(count.exists, 60)
            await rig.master()
            logs = await rig.summary()
            # Each line was written when it was due, give or take what a busy machine takes.
            assert int(count.read_text()) > written * 2 / 3
            assert logs.missing_lines > written / 3
            assert logs.lines + logs.missing_lines == written
            assert not logs.is_at_least

    asyncio.run(check())


FLOOD = """
import os, time
line = b"y" * 99 + b"\\n"
block = line * 600
written = 0
began = time.monotonic()
while (now := time.monotonic() - began) < 4.0:
    if written < now * 17_000_000:
        os.write(1, block)
        written += len(block)
    else:
        time.sleep(0.001)
open(os.environ["COUNT"], "w").write(str(written))
"""


@promise("logs-complete")
def test_a_flood_slows_no_engine_grows_no_memory_and_its_gap_is_an_exact_number(tmp_path) -> None:
    def resident(rig: Rig, role: str) -> int:
        pages = Path(f"/proc/{rig.processes[role].pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    async def check() -> None:
        count = tmp_path / "count"
        async with Rig(tmp_path / "rig", FLOOD, spool_bytes=4 * 1024 * 1024, COUNT=str(count)) as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            await until(rig.kept)
            before = {role: resident(rig, role) for role in ("launcher", "agent")}
            largest = dict(before)
            while not count.exists():
                largest = {role: max(size, resident(rig, role)) for role, size in largest.items()}
                await asyncio.sleep(0.1)
            logs = await rig.summary()
            written = int(count.read_text())

            # A gigabyte a minute is asked for; a machine that does other things, too, may give less.
            assert written > 4.0 * 17_000_000 / 3
            assert (logs.lines + logs.missing_lines, logs.size + logs.missing_size) == (written // 100, written)
            assert logs.missing_lines > 0
            assert not logs.is_at_least
            assert f"{logs.missing_lines} lines" in logs.complaint()
            assert all(size - before[role] < 40_000_000 for role, size in largest.items()), (before, largest)
            # One a second, and more when something changes: the flood has a connection of its own.
            assert rig.beats() >= 4
            # Of the 4 MiB that the spool may hold, most of the time most are held, and told.
            assert max(beat.spool_bytes for beat in rig.connection.all("heartbeat")) > 2**20
            # Each gap stands at its place in what is kept.
            gaps = [line for line in rig.kept() if line.startswith("[")]
            assert sum(int(gap[1:].split()[0]) for gap in gaps) == logs.missing_lines

    asyncio.run(check())


@promise("logs-complete")
def test_a_worker_that_is_killed_as_a_whole_is_said_not_to_be_known_whole(tmp_path) -> None:
    async def check() -> None:
        async with Rig(tmp_path, LONG + "time.sleep(60)") as rig:
            for start in (rig.master, rig.agent, rig.launcher):
                await start()
            await until(lambda: len(rig.kept()) > 200)
            # An agent that has never met its launcher waits for it.
            await rig.launched()
            await rig.kill("launcher")
            logs = await rig.summary()
            assert not logs.is_complete
            assert logs.to_status()["missingAtLeast"]

    asyncio.run(check())


SCRIPT = """
import atexit, logging, os, sys
import gevent
from loadstone import User, constant, events, log, task

engine = int(os.environ["LOADSTONE_ENGINE"])
logging.getLogger("mine").setLevel(logging.DEBUG if engine % 2 else logging.INFO)
atexit.register(lambda: print("atexit", os.getpid()))


@events.quitting.add_listener
def quitting(environment, **_):
    print("quitting", os.getpid())



class Visitor(User):
    wait = constant(0.05)

    def on_start(self):
        self.turns = 0
        assert log(f"durable {self.number}", durable=True)
        print("token is", os.environ["TOKEN"])

    @task
    def turn(self):
        self.turns += 1
        logging.getLogger("mine").info("turn %d of %d", self.turns, self.number)

    def on_stop(self):
        print("on_stop", self.number, self.turns, engine, file=sys.stderr)
        logging.getLogger("mine").debug("debugging %d", self.number)
"""


def local_run(folder: Path, *, workers: int, engines: int, users: int, **environment: str) -> tuple[Any, list[str]]:
    end_ns = 2 * SECOND
    load = LoadProfile(Model.USERS, Profile((Segment(0, end_ns, users, users),), end_ns), None)
    return local_run_of(SCRIPT, load, folder, workers=workers, engines=engines, **environment)


def local_run_of(
    script: str, load: LoadProfile, folder: Path, *, workers: int, engines: int, **environment: str
) -> tuple[Any, list[str]]:
    """Run a script here; return how that ended, and its log."""
    files = {"test.py": script.encode()}
    alone = Scenario(name="default", load=load, target="http://127.0.0.1:1", graceful_stop_ns=SECOND)
    plan = local_plan("logs", files, alone, workers=workers, engines_per_worker=engines)
    log_file = folder / "log.gz"
    run = LocalRun(plan=plan, files=files, environment=environment, on_report=lambda _report: None, log_file=log_file)
    result = asyncio.run(asyncio.wait_for(run.run(), 90))
    return result, gzip.decompress(log_file.read_bytes()).decode().splitlines()


@promise("logs-complete", "log-durable", "log-secrets")
@pytest.mark.parametrize("_run", range(RUNS))
def test_all_that_a_script_prints_is_in_the_log_with_durable_lines_and_without_secrets(tmp_path, _run) -> None:
    users = 2 * 2 * ENGINES + 4
    result, lines = local_run(
        tmp_path,
        workers=2,
        engines=ENGINES,
        users=users,
        TOKEN="hunter2hunter2",
        LOADSTONE_SECRETS='["TOKEN"]',
    )
    text = [line.partition(" | ")[2] for line in lines]
    logs = json.loads(result.outcome.logs_json)

    # Dozens of engines on few cores are late, which is no matter of their log.
    assert result.outcome.reason in {"Passed", "GeneratorSaturated"}, result.outcome
    assert {line.partition(" | ")[0] for line in lines} >= {"worker-0", "worker-0/1", "worker-1", "worker-1/1"}
    assert sorted(line for line in text if line.startswith("durable")) == sorted(
        f"durable {number}" for number in range(users)
    )
    assert text.count("token is ***") == users
    assert not any("hunter2" in line or "loadstone-mark" in line for line in lines)
    stopped = [line.split() for line in text if line.startswith("on_stop")]
    turns = {int(number): int(count) for _, number, count, _ in stopped}
    debugged = {int(line.rpartition(" ")[2]) for line in text if "debugging" in line}
    assert debugged == {int(number) for _, number, _, engine in stopped if int(engine) % 2}
    assert sorted(turns) == list(range(users))
    for number, count in turns.items():
        assert sum(line.endswith(f" of {number}") and "turn" in line for line in text) == count
    quitting = sorted(line.split()[1] for line in text if line.startswith("quitting"))
    assert len(quitting) >= 2 * ENGINES
    assert set(quitting) <= {line.split()[1] for line in text if line.startswith("atexit")}
    assert logs["complete"]
    assert logs["lines"] >= sum(not line.startswith("director") for line in lines)


def test_the_last_words_of_a_director_are_in_the_log(tmp_path) -> None:
    _, lines = local_run(tmp_path, workers=1, engines=1, users=1, TOKEN="hunter2hunter2")

    said = [line.partition(" | ")[2].split() for line in lines if line.startswith("director | ")]
    assert [words[0] for words in said if words[0] in {"quitting", "atexit"}] == ["quitting", "atexit"]


def test_whoever_waits_for_a_durable_line_without_a_master_is_told_no_in_time(tmp_path) -> None:
    code = """
import sys, time
from loadstone_runner.engine.marks import LogMarks
began = time.monotonic()
answer = LogMarks().write("nobody holds this", 0.5)
print("answer", answer, time.monotonic() - began < 10, flush=True)
"""

    async def check() -> None:
        async with Rig(tmp_path, code) as rig:
            await rig.launcher()
            began = time.monotonic()
            while "answer" not in (tmp_path / "launcher.log").read_text():
                assert time.monotonic() - began < 30
                await asyncio.sleep(0.05)
            assert (tmp_path / "launcher.log").read_text() == "nobody holds this\nanswer False True\n"

    asyncio.run(check())


@promise("log-command")
def test_the_last_ten_thousand_lines_of_a_master_are_those_that_came_last(tmp_path) -> None:
    async def check() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            follower = master.follow()
            written = []
            # One after the other, as what workers say at once is in no order.
            for agent in agents * 2:
                written += await say_lines(agent, len(written))
            assert len(written) > 2 * TAIL_LINES
            for wanted, bounds in ((TAIL_LINES, {}), (TAIL_LINES - 1, {"lines": TAIL_LINES - 1}), (70, {"lines": 70})):
                assert gzip.decompress(await follower.fetch_logs(**bounds)).decode().splitlines() == written[-wanted:]
            few = gzip.decompress(await follower.fetch_logs(size=2_000)).decode().splitlines()
            assert 10 < len(few) < TAIL_LINES
            assert few == written[-len(few) :]

    asyncio.run(asyncio.wait_for(check(), 60))


async def say_lines(agent: Agent, first: int) -> list[str]:
    """Let a worker say 7,000 lines in blocks of any size; return them as they are shown, once the master keeps them."""
    end, outbox, texts = BulkEnd(), Outbox(entries_max=100_000, bytes_max=10**8), []
    end.send_from(f"logs/{first}", outbox)
    client = BulkClient(end, run_uid=RUN_UID, pems=None, on_bad_frame=lambda error: pytest.fail(str(error)))
    chance = random.Random(first)  # noqa: S311 no secret
    number = 0
    while len(texts) < 7_000:
        number += 1
        block = [str(first + len(texts) + at) for at in range(chance.choice((1, 3, 40, 700)))]
        payload = "".join(f"{text}\n" for text in block).encode()
        outbox.put(Record(number, Kind.LINES, LogStream(0, 1, 1), len(block), payload).encode())
        texts += block
    client.open(agent.address, agent.peer)
    await until(lambda: outbox.durable == number)
    client.close()
    return [f"worker-{agent.worker} | {text}" for text in texts]


LOUD = """
import atexit, json, os, time
from loadstone import User, measure, task

began = []

class Visitor(User):
    @task
    def turn(self):
        now = time.monotonic()
        if int(now) % 2:
            for number in range(30):
                print(number, "x" * 80)
        with measure("turn"):
            pass
        began.append(now)

@atexit.register
def tell():
    if began:
        with open(os.environ["NOTES"], "a") as file:
            file.write(json.dumps(began) + chr(10))
"""


@promise("run-rate", "logs-complete")
def test_thousands_of_lines_a_second_change_no_rate(tmp_path) -> None:
    """Every other second each iteration prints 30 lines; as many begin in those as in the others."""
    per_second, seconds = 200, 13
    load = LoadProfile(
        Model.RATE, Profile((Segment(0, seconds * SECOND, per_second, per_second),), seconds * SECOND), None
    )
    notes = tmp_path / "notes"
    result, lines = local_run_of(LOUD, load, tmp_path, workers=2, engines=1, NOTES=str(notes))
    began = [moment for line in notes.read_text().splitlines() for moment in json.loads(line)]
    by_second = Counter(int(moment) for moment in began)
    # Only seconds that the load ran through, as many of either kind.
    whole = sorted(by_second)[1:-1]
    whole = whole[: len(whole) // 2 * 2]
    loud, quiet = (sum(by_second[second] for second in whole if second % 2 == kind) for kind in (1, 0))

    # That a machine was busy with something else is no matter of the log.
    assert result.outcome.reason in {"Passed", "GeneratorSaturated"}, result.outcome
    assert len(whole) >= 10
    print(f"{loud} iterations in loud seconds, {quiet} in quiet ones: {sorted(by_second.items())}")
    assert 0.95 < loud / quiet < 1.05
    logs = json.loads(result.outcome.logs_json)
    printed = 30 * sum(int(moment) % 2 for moment in began)
    assert printed > 30 * per_second * 4
    assert logs["lines"] + logs.get("missingLines", 0) >= printed
    assert sum(line.endswith("x" * 80) for line in lines) + logs.get("missingLines", 0) >= printed

"""The kill switch, with real processes: whatever user code does, nothing of it goes on, and the run has its results."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.component.master_process import master_of, plan_of, scenario, steering, users
from tests.component.ports import free_port
from tests.component.processes import is_alive
from tests.component.scripted_agent import until
from tests.component.test_takeover import come_back, kill, lose_pod, second_of

from loadstone_protocol.follower import Follower
from loadstone_protocol.v1 import control_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.component.scripted_agent import Agent

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS, END_SECONDS = 60.0, 5.0
VISIT, STRAY = "/iteration/0", "/iteration/1"
SCRIPT = r"""
import os, re, signal, sys, time
from pathlib import Path

from loadstone import User, constant, events, every, log, on_message, send_message, setup, task, teardown

MARKS = Path(os.environ["MARKS"])
STRAY = '''
import signal, sys, time, urllib.request
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
    except OSError:
        pass
    time.sleep(0.02)
'''


def mark(name):
    (MARKS / f"{name}-{os.getpid()}").touch()


def is_first(name):
    try:
        (MARKS / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def hold_the_lock():
    re.match("(a|aa)+$", "a" * 200 + "b")


@setup
def prepare(run):
    mark("director")
    if "HOLD" in os.environ:
        hold_the_lock()


@teardown
def clean(run):
    mark("teardown")


@events.test_stop.add_listener
def stopped(**_):
    mark("test_stop")


@on_message("compute", where="process", timeout=600)
def compute(data):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark("lane")
    hold_the_lock()


@every(1)
def seize(summary):
    if list(MARKS.glob("lane-*")):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mark("seized")
        hold_the_lock()


class Visitor(User):
    wait = constant(0.02)

    def on_start(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mark("engine")

    @task
    def visit(self):
        self.http.get("/iteration/0", name="visit")
        if self.iteration == 10 and is_first("messenger"):
            send_message("compute", {}, to="director")
        if self.iteration == 20 and is_first("parent"):
            if os.fork() == 0:
                # A daemon, as the books have it.
                os.setsid()
                if os.fork() == 0:
                    mark("stray")
                    os.execv(sys.executable, [sys.executable, "-c", STRAY, os.environ["TARGET"] + "/iteration/1"])
                os._exit(0)
        if self.iteration == 40 and is_first("prisoner"):
            log("before the lock")
            mark("stuck")
            hold_the_lock()
"""


@dataclass
class Run:
    """A local run that somebody has killed, as an operator would."""

    folder: Path
    scratch: Path
    target: str
    process: subprocess.Popen[bytes]
    steered: int = 0

    def marks(self, name: str) -> list[int]:
        """Return the processes that have left a mark."""
        return [int(each.name.rpartition("-")[2]) for each in self.folder.glob(f"marks/{name}-*")]

    def count(self) -> dict[str, int]:
        from tests.component.test_local import fetch

        by_path: dict[str, int] = fetch(f"{self.target}/count")["by_path"]
        return by_path

    def wait(self, is_so: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"not within {START_SECONDS} s: {what}"
            assert self.process.poll() is None, f"it ended: {what}"
            time.sleep(0.02)

    def see_end(self, processes: Iterable[int]) -> None:
        """See processes end, as soon as is promised: the text is none of those for which a test is made again."""
        deadline = time.monotonic() + END_SECONDS
        while left := [each for each in processes if is_alive(each)]:
            assert time.monotonic() < deadline, f"{left} still lived {END_SECONDS} s after the kill"
            time.sleep(0.02)

    def steer(self, reason: str) -> None:
        """Tell the master what is wanted, beside `loadstone run`, whose wishes are older from now on."""

        async def tell() -> None:
            (address,) = self.scratch.glob("loadstone-*/master/address")
            follower = Follower(address.read_text().strip(), self.uid, 1)
            wanted = control_pb2.Steering(run_uid=self.uid, epoch=1, stop=True, stop_reason=reason)
            wanted.revision = 1_000 + self.steered
            self.steered += 1
            await follower.steer(wanted)
            await follower.close()

        asyncio.run(tell())

    @property
    def uid(self) -> str:
        (plan,) = self.scratch.glob("loadstone-*/run.json")
        uid: str = json.loads(plan.read_text())["run"]["uid"]
        return uid

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return status

    def logs(self) -> str:
        (log,) = self.folder.glob("results/logs/*.log.gz")
        return gzip.decompress(log.read_bytes()).decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start a target; give what starts a run with these environment variables for its script."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(ROOT / "examples" / "target" / "server.py"), "--port", str(port)])
    target = f"http://127.0.0.1:{port}"
    (tmp_path / "marks").mkdir()
    # Short, as the paths of Unix sockets are.
    scratch = Path(tempfile.mkdtemp(prefix="ls-"))
    started = []

    def start(**environment: str) -> Run:
        environment |= {"MARKS": str(tmp_path / "marks"), "TARGET": target}
        spec = {
            "source": {"inline": {"content": SCRIPT}},
            "load": {"users": 4, "duration": "5m", "gracefulStop": "60s", "target": target},
            "workers": {"replicas": 2},
            "env": [{"name": name, "value": value} for name, value in environment.items()],
        }
        document = {"apiVersion": "loadstone.dev/v1alpha1", "kind": "LoadTest", "metadata": {"name": "k"}, "spec": spec}
        (tmp_path / "test.yaml").write_text(json.dumps(document))
        command = [sys.executable, "-m", "loadstone_cli", "run", str(tmp_path / "test.yaml"), "--quiet"]
        command += ["--status", str(tmp_path / "status.json"), "--results", str(tmp_path / "results")]
        started.append(subprocess.Popen(command, env={**os.environ, "TMPDIR": str(scratch)}))
        return Run(tmp_path, scratch, target, started[0])

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
        server.terminate()
        server.wait()
        shutil.rmtree(scratch)


@pytest.mark.promise("kill-switch", "kill-bounds")
@pytest.mark.parametrize("before", ["", "Stopped"])
def test_nothing_of_a_killed_run_goes_on_whatever_user_code_does(start: Callable[..., Run], before: str) -> None:
    run = start()
    for name in ("engine", "stuck", "stray", "lane", "seized"):
        run.wait(lambda name=name: run.marks(name), name)
    run.wait(lambda: run.count().get(STRAY), "the stray asks for something")
    processes = {pid for name in ("director", "engine", "stray", "lane") for pid in run.marks(name)}
    assert len(processes) == 5
    if before:
        run.steer(before)
        time.sleep(1)
        assert all(map(is_alive, (*run.marks("stuck"), *run.marks("seized"), *run.marks("lane"))))

    began = time.monotonic()
    run.steer("Killed")
    run.see_end(processes)
    ended = time.monotonic() - began
    counted = run.count()
    code = run.process.wait(30)
    print(f"all processes had ended after {ended:.2f} s, the run after {time.monotonic() - began:.2f} s")

    assert run.count() == counted, "something was asked behind the kill"
    status = run.status()
    assert (status["verdict"], status["reason"], status["exitCode"], code) == ("Aborted", "Killed", 130, 130), status
    results = status["results"]
    low = results["requests"] - results["unsent"] - results["ambiguous"]
    assert 0 < low <= counted[VISIT] <= results["started"] - results["unsent"], (results, counted)
    assert not results.get("unaccountedAtLeast"), results
    assert not run.marks("teardown")
    # Engines that had ended before were told.
    assert not {*run.marks("test_stop")} & {*run.marks("director"), *run.marks("stuck")}
    # Who was killed on purpose is not lost, and nothing went wrong with the director.
    found = "\n".join(status["findings"])
    assert "lost" not in found, found
    assert "director" not in found, found
    assert "LogsIncomplete" not in found, found
    assert "before the lock" in run.logs()


def test_a_run_that_is_killed_while_it_is_set_up_is_over_at_once(start: Callable[..., Run]) -> None:
    run = start(HOLD="1")
    run.wait(lambda: run.marks("director"), "it is set up")

    run.steer("Killed")
    run.see_end(run.marks("director"))
    assert run.process.wait(30) == 130
    status = run.status()
    assert (status["verdict"], status["reason"], status["results"]["started"]) == ("Aborted", "Killed", 0), status
    assert not run.marks("engine")


async def _told(agents: list[Agent], epoch: int = 1) -> None:
    await until(lambda: all(each.body.kill and each.applied.version.epoch == epoch for each in agents))


@pytest.mark.promise("kill-switch", "master-restart")
@pytest.mark.parametrize("leave", [kill, lose_pod])
def test_a_kill_outlives_the_master_that_was_told_of_it(tmp_path: Path, leave: Any) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path) as master:
            await master.direct()
            agents = await master.crew(2)
            await asyncio.gather(*(agent.load(seconds=1, users=1, requests=10) for agent in agents))
            await master.follow().steer(steering(1, stop_reason="Killed"))
            await _told(agents)
            told = [agent.revisions[-1] for agent in agents]
            assert all(agent.body.graceful_stop_ns == 0 for agent in agents)
            await leave(master)
            await come_back(master)
            await _told(agents, master.epoch)
            assert [agent.revisions[-1] for agent in agents] != told
            for agent in agents:
                # What it had not reported is known from its counters.
                agent.count(started=8, completed=7)
                agent.users = 0
                if leave is lose_pod:
                    await agent.retell(second_of(agent))
                end = agent.end(clean=False, signal=9)
                await agent.say(engine_end=end)
                await agent.say_bye(end)
            report, _ = await master.finish()
            results = json.loads(report.outcome.results_json)
            assert (report.outcome.verdict, report.outcome.reason) == ("Aborted", "Killed")
            assert (results["requests"], results["started"]) == (34, 36), results
            assert not any("lost 1" in each or "lost 2" in each for each in report.findings), report.findings
            assert master.director is not None
            assert True not in master.director.asked, "nobody is asked to tear anything down"

    scenario(run())


@pytest.mark.promise("kill-switch", "master-restart")
def test_a_new_master_that_still_waits_for_a_worker_has_those_killed_that_are_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path) as master:
            await master.direct()
            gone, left = await master.crew(2)
            await lose_pod(master)
            gone.left_with = True
            await come_back(master)
            assert left.applied.version.epoch == 1
            began = time.monotonic()
            await master.follow().steer(steering(1, stop_reason="Killed", epoch=2))
            await _told([left], epoch=2)
            assert time.monotonic() - began < END_SECONDS, "it has waited for the other"
            await left.say_bye(left.end(clean=False, signal=9))
            ended = [control_pb2.WorkerEnd(worker=0, attempt=1, reason="Deleted")]
            await master.follow().steer(steering(2, stop_reason="Killed", ended=ended, epoch=2))
            report, _ = await master.finish()
            assert (report.outcome.verdict, report.outcome.reason) == ("Aborted", "Killed")
            assert json.loads(report.outcome.results_json)["unaccountedAtLeast"]

    scenario(run())


def test_a_master_that_is_told_to_end_behind_a_kill_says_how_the_run_ended_and_leaves_it_to_no_other(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with master_of(plan_of(users(2, 60)), tmp_path, more={"LOADSTONE_HAS_SUCCESSOR": "1"}) as master:
            await master.direct()
            agents = await master.crew(2)
            await master.follow().steer(steering(1, stop_reason="Killed"))
            await _told(agents)
            assert master.process is not None
            master.process.terminate()
            for agent in agents:
                await agent.say_bye(agent.end(clean=False, signal=9))
            await asyncio.wait_for(master.process.wait(), 20)
            assert (master.last_word["verdict"], master.last_word["reason"]) == ("Aborted", "Killed")

    scenario(run())

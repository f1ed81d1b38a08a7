"""A real engine whose users all open TLS connections: handshakes must not hold the statistics of a second up."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.component import engine_process
from tests.component.engine_process import SECOND, Engine, Make, scenario, series
from tests.component.hostile import Authority

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines

SERVER = Path(__file__).with_name("tls_target.py")
USERS, RAMP_SECONDS, SECONDS = 1_000, 10, 12
LATEST_SECONDS = 1.25

VISITOR = """
    from loadstone import HttpOptions, User, constant, task

    class Visitor(User):
        wait = constant(0.2)
        http_options = HttpOptions(verify=False)

        @task
        def front_page(self):
            self.http.get("/")
"""


def waited(process: int) -> float:
    """Return the seconds for which the first thread of a process was ready, and the machine was busy with others."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / SECOND


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    certificate = Authority(tmp_path, "mine").issue("server", "IP:127.0.0.1")
    process = subprocess.Popen([sys.executable, str(SERVER), str(certificate)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        yield f"https://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def moments(engine: Engine) -> list[float]:
    """Return when each state came to the agent, until the last; the clock stands while the engine has no processor."""
    agent, came = engine.agent, []
    while not came or not agent.states()[-1].final:
        with agent.changed:
            agent.changed.wait(5)
            states = sum(each.WhichOneof("kind") == "state" for each in agent.received)
        if states > len(came):
            now = time.monotonic() - waited(engine.process.pid)
            came += [now] * (states - len(came))
    return came


def test_statistics_of_each_second_come_in_time_while_a_thousand_https_users_start(engines: Make, target: str) -> None:
    ramp, end = RAMP_SECONDS * SECOND, SECONDS * SECOND
    profile = Profile((Segment(0, ramp, 0, USERS), Segment(ramp, end - ramp, USERS, USERS)), end)
    engine = engines(VISITOR)
    engine.start(scenario(LoadProfile(Model.USERS, profile, None), target))
    came = moments(engine)
    final = engine.agent.final()

    assert series(final, "tls").count == USERS
    assert len(came) > SECONDS // 2
    distances = sorted(later - earlier for earlier, later in pairwise(came))
    # There are a dozen, so the slowest is the 99th percentile.
    assert distances[-1] <= LATEST_SECONDS, distances

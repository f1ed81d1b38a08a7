"""What a worker needs and has not: refused before the load with numbers, or named, counted and judged in mid-run."""

import json
import re
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.component import engine_process, own_network
from tests.component.engine_process import SECOND, Make, series, users
from tests.lacking import lacks

engines = engine_process.engines
target = engine_process.target
promise = pytest.mark.promise
# More than half of the usual 28,232 ports, so that ports of both parities are used.
MANY = 16_000
needs_network = pytest.mark.usefixtures("own_networks")

VISITOR = """
from loadstone import User, constant, task


class Visitor(User):
    wait = constant(0.2)

    @task
    def visit(self):
        self.http.get("/", name="visit")
"""
# The first user takes what is left and keeps it, as another program on the machine might.
GREEDY = """
import socket
from gevent.event import Event
from loadstone import User, constant, task

nothing_left = Event()
taken = []


class Visitor(User):
    wait = constant(0.2)

    def on_start(self):
        if not self.number:
            take = {take}
            try:
                while True:
                    taken.append(take())
            except OSError:
                nothing_left.set()
        nothing_left.wait()

    @task
    def visit(self):
        self.http.get("/", name="visit")
"""
TAKE_PORTS = 'lambda: socket.create_connection(("127.0.0.1", 8800))'
TAKE_FILES = "socket.socket"

FIRST, LAST = 40_000, 40_199


def run(folder: Path, script: str, count: int, *before: str, at: str = own_network.TARGET, **load: str) -> dict:
    """Run a test on this machine, preceded by what narrows it, and return its status with the exit code."""
    manifest = {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "narrow"},
        "spec": {
            "engine": "native",
            "source": {"inline": {"content": textwrap.dedent(script)}},
            "load": {"target": at, "users": count, "duration": "3s"} | load,
        },
    }
    (folder / "narrow.yaml").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "loadstone_cli", "run", str(folder / "narrow.yaml"), "--quiet"]
    status = folder / "status.json"
    done = subprocess.run(
        [*before, *command, "--status", str(status), "--results", str(folder / "results")],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert status.exists(), done.stderr
    told = json.loads(status.read_text())
    assert told["exitCode"] == done.returncode
    return told


def files(soft: int, hard: int) -> tuple[str, ...]:
    """Return what limits the open files of a command."""
    return ("prlimit", f"--nofile={soft}:{hard}")


def failures(status: dict) -> dict[str, int]:
    return {each["error"].partition(":")[0]: each["count"] for each in status["results"]["topErrors"]}


@promise("preflight")
@needs_network
def test_more_connections_than_ports_are_refused_with_both_numbers(tmp_path) -> None:
    status = run(tmp_path, VISITOR, 300, *own_network.prefix(FIRST, LAST))

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "PreflightFailed", 1)
    assert status["message"] == (
        "300 connections need 300 ports towards 127.0.0.1:8800, this worker has 200 (40000-40199): use fewer users, or "
        "more source_addresses in HttpOptions"
    )
    assert status["results"]["requests"] == 0


@promise("preflight")
@needs_network
def test_all_workers_of_one_machine_share_its_ports_and_each_source_address_brings_its_own(tmp_path) -> None:
    sources = VISITOR.replace("constant, task", "HttpOptions, constant, task").replace(
        "    wait", '    http_options = HttpOptions(source_addresses=("127.0.0.2", "127.0.0.3"))\n    wait'
    )
    (tmp_path / "refused").mkdir()

    status = run(tmp_path, sources, 300, *own_network.prefix(FIRST, LAST))
    refused = run(tmp_path / "refused", sources, 500, *own_network.prefix(FIRST, LAST))

    # On a machine that others use, too, the generator may be late; it lacks nothing.
    assert (status["results"]["failures"], "lacked" in status["message"]) == (0, False), status
    assert status["results"]["requests"] >= 300
    assert (
        "500 ports towards 127.0.0.1:8800, this worker has 400 (40000-40199, 2 pairs of addresses)"
        in (refused["message"])
    )


@promise("exhausted")
@needs_network
def test_ports_that_run_out_in_mid_run_are_a_failure_of_their_own_and_saturation(tmp_path) -> None:
    script = GREEDY.format(take=TAKE_PORTS)

    status = run(tmp_path, script, 30, *own_network.prefix(FIRST, LAST))

    results = status["results"]
    assert (status["verdict"], status["reason"]) == ("Inconclusive", "GeneratorSaturated"), status
    assert re.search(r"lacked ports, open files or memory for connections in [23] of 3 s", status["message"])
    assert failures(status) == {"no free port": results["failures"]}
    assert results["failures"] == results["unsent"] == results["requests"] > 100


@promise("preflight")
def test_more_connections_than_open_files_are_refused_with_both_numbers(tmp_path, target) -> None:
    status = run(tmp_path, VISITOR, 400, *files(300, 300), at=target.url)

    assert (status["verdict"], status["reason"]) == ("Error", "PreflightFailed"), status
    found = re.fullmatch(
        r"400 connections of an engine need (\d+) file descriptors, it may have 300: use at least 2 workers, or "
        r"raise its limit \(ulimit -n, or the container runtime's LimitNOFILE\)",
        status["message"],
    )
    assert found
    assert 464 < int(found[1]) < 500


@promise("preflight")
def test_engines_may_open_as_many_files_as_the_hard_limit_allows(tmp_path, target) -> None:
    status = run(tmp_path, VISITOR, 400, *files(200, 600), at=target.url)

    assert status["results"]["failures"] == 0
    assert status["results"]["requests"] == target.count()["requests"] >= 400


@promise("exhausted")
def test_files_that_run_out_in_mid_run_are_a_failure_of_their_own_and_saturation(tmp_path, target) -> None:
    status = run(tmp_path, GREEDY.format(take=TAKE_FILES), 30, *files(300, 300), at=target.url)

    results = status["results"]
    assert (status["verdict"], status["reason"]) == ("Inconclusive", "GeneratorSaturated"), status
    assert failures(status) == {"too many open files": results["failures"]}
    assert results["failures"] == results["unsent"] == results["requests"] > 100


@promise("exhausted")
def test_names_that_cannot_be_looked_up_for_want_of_files_do_not_blame_the_name_server(tmp_path, target) -> None:
    script = GREEDY.format(take=TAKE_FILES).replace("constant, task", "HttpOptions, constant, task")
    script = script.replace("    wait", "    http_options = HttpOptions(dns_ttl=0)\n    wait")
    status = run(tmp_path, script, 30, *files(300, 300), at=target.url.replace("127.0.0.1", "localhost"))

    assert failures(status) == {"too many open files": status["results"]["requests"]}, status


@promise("preflight")
def test_more_users_than_the_memory_of_a_container_holds_are_refused(engines: Make, target, monkeypatch) -> None:
    monkeypatch.setenv("LOADSTONE_MEMORY_LIMIT", str(128 << 20))
    engine = engines(VISITOR)
    engine.agent.wait(lambda each: each.script.ok)

    engine.agent.configure(revision=1, scenarios=[users(15_000, 1.0, target.url)])
    told = engine.agent.wait(lambda each: each.HasField("script") and not each.script.ok).script

    assert told.preflight_failed
    found = re.fullmatch(
        r"15,000 users need at least (\d+) MiB \((\d+) MiB, and 10 KB for each\), the limit of this worker is 128 MiB: "
        r"use at least \d workers, or raise it \(workers.template.resources.limits.memory\)",
        told.problem,
    )
    assert found, told.problem
    assert int(found[1]) == pytest.approx(int(found[2]) + 143, abs=1)
    assert not told.traceback


@pytest.fixture
def own_networks() -> None:
    if not own_network.is_allowed():
        lacks("making a network needs root")


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 500:
        lacks(f"{MANY} connections need a hard limit of open files above {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_users_that_all_connect_at_once_do_not_starve_each_other(many_files: None, engines: Make, target) -> None:
    engine = engines(VISITOR.replace("constant(0.2)", "constant(1000)"))

    engine.start(users(MANY, 120.0, target.url))
    engine.agent.wait(lambda each: each.state.counters.completed == MANY, 90)
    engine.stop()
    final = engine.agent.final()

    assert not final.errors
    assert final.counters.completed == target.count()["requests"] == MANY
    assert series(final, "connect").count == MANY
    # The search for a port among those of one parity took 1.4 ms of each connection beyond the half of them.
    assert series(final, "connect").maximum < 10 * SECOND

"""A platform embeds load tests: a real FastAPI application under uvicorn, and both clients, against real runs."""

import json
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.component.ports import free_port

import loadstone_client
from loadstone_client import Refused, StartFailed, Unreachable

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.yaml"
LATE_SECONDS = 1.25
promise = pytest.mark.promise


def ask(url: str, body: object = None, method: str | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply) or {}


def until_up(url: str) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            ask(f"{url}/count")
        except urllib.error.HTTPError:
            return url
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return url


@pytest.fixture
def target():
    port = free_port()
    server = subprocess.Popen([sys.executable, str(ROOT / "examples" / "target" / "server.py"), "--port", str(port)])
    yield until_up(f"http://127.0.0.1:{port}")
    server.terminate()
    server.wait()


@pytest.fixture
def short_path():
    """A folder that leaves room for a socket's name: the kernel holds 107 bytes of its path."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def platform():
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "tests" / "component"), "platform_process:app"]
    server = subprocess.Popen([*command, "--port", str(port), "--log-level", "warning"])
    yield until_up(f"http://127.0.0.1:{port}")
    server.terminate()
    assert server.wait(60) in {0, -signal.SIGTERM}


def requests_at(target: str) -> int:
    return ask(f"{target}/count")["requests"]


class Reader:
    """Reads the rows of a run as the platform passes them on, and how late each came."""

    def __init__(self, url: str) -> None:
        self.rows: list[dict] = []
        self.late: list[float] = []
        self._thread = threading.Thread(target=self._read, args=(url,))
        self._thread.start()

    def _read(self, url: str) -> None:
        with urllib.request.urlopen(url, timeout=60) as lines:
            for line in lines:
                row = json.loads(line)
                self.late.append(time.time() - row["ended_unix_micros"] / 1e6)
                self.rows.append(row)

    def until(self, holds) -> None:
        deadline = time.monotonic() + 60
        while not any(holds(row) for row in list(self.rows)):
            assert time.monotonic() < deadline, self.rows
            time.sleep(0.05)

    def end(self) -> list[dict]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.rows


@pytest.mark.alone
@promise("embedding", "rows-in-time", "local-control", "exact-totals")
def test_an_application_starts_watches_steers_and_stops_a_run(target, platform) -> None:
    number = ask(f"{platform}/runs", {"target": target, "users": 5, "duration": "5m"})["run"]
    run = f"{platform}/runs/{number}"
    readers = [Reader(f"{run}/rows"), Reader(f"{run}/rows")]

    readers[0].until(lambda row: row["users"] == 5 and row["requests"])
    ask(f"{run}/load", {"users": 12})
    readers[0].until(lambda row: row["users"] == 12)
    # Whoever comes later gets the rows of before, too.
    readers.append(Reader(f"{run}/rows"))
    ask(f"{run}/pause", {})
    readers[0].until(lambda row: row["second"] > 2 and row["users"] == 0)
    assert ask(run)["paused"]
    ask(f"{run}/resume", {})
    seen = len(readers[0].rows)
    readers[0].until(lambda row: row["second"] > seen and row["users"] == 12)
    readers[0].until(lambda row: row["second"] >= 10)
    outcome = ask(run, method="DELETE")

    first, second, last = (reader.end() for reader in readers)
    assert (outcome["verdict"], outcome["reason"], outcome["exit_code"]) == ("Aborted", "Stopped", 130)
    assert first == second == last
    assert [row["second"] for row in first] == list(range(len(first)))
    assert sum(row["requests"] for row in first) == outcome["results"]["requests"] == requests_at(target) > 100
    # Of the seconds that were closed while they were watched one in a hundred may be late: of so few, none.
    late = sorted(seconds for reader in readers[:2] for seconds in reader.late)
    assert late[-1] <= LATE_SECONDS, late
    assert ask(run)["verdict"] == "Aborted"
    process = ask(f"{platform}/self")
    assert [name for name in process["modules"] if not name.startswith("loadstone_client")] == []
    assert "loadstone_client.asynchronous" in process["modules"]
    assert process["patched"] == {"socket": "socket", "ssl": "ssl", "threading": "threading"}


@promise("embedding")
def test_an_application_that_asks_all_the_time_is_told_of_the_run_or_of_its_end(target, platform) -> None:
    run = f"{platform}/runs/{ask(f'{platform}/runs', {'target': target, 'users': 2, 'duration': '2s'})['run']}"

    deadline = time.monotonic() + 60
    while "verdict" not in (said := ask(run)):
        assert said["outcome"] is None or said["stage"] == "finished"
        assert time.monotonic() < deadline

    assert ask(run, method="DELETE") == said


@promise("embedding")
def test_an_application_hears_why_a_run_cannot_be_started(target, platform) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{platform}/runs", {"target": target, "duration": "5 days"})

    assert refused.value.code == 400
    assert "spec.load.duration" in json.load(refused.value)["detail"]


@promise("embedding", "local-control", "exact-totals")
def test_the_blocking_client_runs_a_test_to_its_end_and_reads_its_report(target) -> None:
    settings = {"load.target": target, "load.users": 6, "load.duration": "11s"}
    with loadstone_client.start(QUICKSTART, settings=settings) as run:
        socket_path = run.place.socket
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
        with pytest.raises(Refused, match="is of users"):
            run.set_load(rate=5)
        with pytest.raises(Refused, match="before the run is finished"):
            run.report()
        with ThreadPoolExecutor() as watchers:
            fine, coarse = watchers.map(lambda tier: list(run.watch(tier)), ["1s", "10s"])
        outcome = run.wait(60)
        report = run.report()

        # A machine with much else to do may have been late, and says so.
        assert outcome.verdict in {"Passed", "Inconclusive"}, outcome
        assert run.outcome == outcome
        assert sum(row.requests for row in fine) == sum(row.requests for row in coarse) == requests_at(target)
        assert report["results"]["requests"] == outcome.results["requests"] == requests_at(target) > 100
        assert [row.second for row in fine] == list(range(len(fine)))
        assert [(row.second, row.tier) for row in coarse] == [(0, "10s"), (10, "10s")]
        assert coarse[0].requests == sum(row.requests for row in fine[:10])
        assert coarse[0].requests_per_second == coarse[0].requests / 10
        for row in coarse:
            pages = [each for each in row.series if each.metric == "latency"]
            assert sum(each.count for each in pages) == row.requests
            assert {each.name for each in pages} <= {each["name"] for each in report["results"]["endpoints"]}
            assert all(0 < each.p50 <= each.p95 <= each.p99 for each in pages)
        assert not any(row.series for row in fine)
        with pytest.raises(Unreachable):
            run.state()
        folder = run.place.folder
    assert not folder.exists()


@promise("embedding")
def test_a_run_that_cannot_be_started_leaves_nothing_behind(monkeypatch) -> None:
    # A socket's path has to be short.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        with pytest.raises(StartFailed, match=r"spec\.load\.users"):
            loadstone_client.start(QUICKSTART, settings={"load.users": 0})

        assert list(Path(folder).iterdir()) == []


STARTER = """
import sys, loadstone_client
file, target, folder = sys.argv[1:]
loadstone_client.start(file, settings={"load.target": target, "load.duration": "5s"}, folder=folder)
print("started", flush=True)
sys.stdin.read()
"""


@promise("embedding", "exact-totals")
def test_a_run_goes_on_without_the_program_that_started_it_and_is_found_again(target, short_path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(QUICKSTART), target, str(short_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout.readline() == b"started\n"
    run = loadstone_client.connect(f"unix:{short_path}/control.sock")
    rows = run.watch()
    before = [next(rows) for _ in range(2)]
    starter.kill()
    starter.communicate()

    everything = [*before, *rows]

    assert run.outcome is not None
    # A machine with much else to do may have been late, and says so.
    assert run.outcome.verdict in {"Passed", "Inconclusive"}, run.outcome
    assert run.outcome.load["achieved"] == run.outcome.load["planned"]
    assert sum(row.requests for row in everything) == run.outcome.results["requests"] == requests_at(target)


@promise("local-control")
def test_a_socket_that_somebody_else_has_is_left_alone(short_path) -> None:
    path = short_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartFailed, match="another run is controlled at"):
            loadstone_client.start(QUICKSTART, folder=short_path)
    assert path.is_socket()
    assert not (short_path / "status.json").exists()

"""What `loadstone run` leaves in files: tried out before any load, and whatever happens to it, the verdict is told."""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.component.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PASS = ROOT / "tests" / "e2e" / "manifests" / "pass.yaml"
TARGET = ROOT / "examples" / "target" / "server.py"
LIMIT_BYTES = 4096
promise = pytest.mark.promise


def command(*options: str | Path) -> list[str]:
    return [sys.executable, "-m", "loadstone_cli", "run", str(PASS), "--quiet", *map(str, options)]


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*options), capture_output=True, text=True, timeout=100, check=False)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def target():
    """Start examples/target/server.py on a free port; give its address."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(TARGET), "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 60
    while not listens(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.communicate()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("--results", "results cannot be kept in {path}: Not a directory; name another folder with --results"),
        ("--status", "the status cannot be written to {path}: Not a directory; name another file with --status"),
    ],
)
@promise("stop-keeps-results")
def test_nothing_is_run_whose_results_could_not_be_written(tmp_path, place, words) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "below"
    # A later option wins.
    done = run("--results", tmp_path / "results", place, path, "--progress", "jsonl")

    assert done.returncode == 1
    assert done.stderr == f"loadstone: {words.format(path=path)}\n"
    (outcome,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (outcome["verdict"], outcome["reason"], outcome["exitCode"]) == ("Error", "PreflightFailed", 1)
    assert [path for path in tmp_path.rglob("*") if path.suffix] == []


@promise("progress-jsonl")
def test_a_disk_that_does_not_take_the_script_is_told_and_nothing_is_left_on_it(tmp_path) -> None:
    script = "source.inline.content=" + json.dumps("#" * 2 * LIMIT_BYTES)
    done = subprocess.run(
        command("--results", tmp_path / "results", "--progress", "jsonl", "--set", script),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES)),
    )

    assert done.returncode == 1
    assert done.stderr == "loadstone: the run cannot be started: [Errno 27] File too large\n"
    (outcome,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (outcome["verdict"], outcome["reason"], outcome["exitCode"]) == ("Error", "PreflightFailed", 1)
    assert [path for path in tmp_path.rglob("*") if path.name not in {"results", "logs"}] == []


def test_a_folder_that_is_not_there_holds_no_status(tmp_path) -> None:
    done = run("--results", tmp_path / "results", "--status", tmp_path / "none" / "status.json")

    assert done.returncode == 1
    assert "No such file or directory; name another file with --status" in done.stderr


@promise("stop-keeps-results")
def test_a_verdict_is_told_though_nothing_could_be_written_at_the_end(target, tmp_path) -> None:
    results, status = tmp_path / "results", tmp_path / "status" / "status.json"
    status.parent.mkdir()
    settings = ["--set", f"load.target={target}", "--set", "thresholds=[]", "--set", "load.duration=4s"]
    process = subprocess.Popen(
        command("--results", results, "--status", status, *settings, "--progress", "jsonl"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not results.joinpath("logs").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(1)
    shutil.rmtree(results)
    results.touch()
    shutil.rmtree(status.parent)
    out, err = process.communicate(timeout=60)

    outcome = json.loads(out.splitlines()[-1])
    assert (outcome["kind"], outcome["verdict"], outcome["exitCode"]) == ("outcome", "Passed", process.returncode)
    assert (process.returncode, outcome["report"], outcome["log"]) == (1, None, None)
    assert outcome["results"]["requests"] > 0
    assert "Passed" in err
    assert "Traceback" not in err
    assert all(
        f"loadstone: the {what} could not be written to {tmp_path}" in err for what in ("report", "log", "status")
    )

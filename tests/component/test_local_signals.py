"""What SIGINT, SIGTERM and SIGHUP do to `loadstone run`, from its first moment to its last."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PREFIX = [sys.executable, "-m", "loadstone_cli", "run"]
STOPPING_SECONDS = 10 + 5
SLOW = """
kind: LoadTest
apiVersion: loadstone.dev/v1alpha1
metadata: {name: slow}
spec:
  source:
    inline:
      content: |
        import os, time
        from loadstone import User, task

        class Sleeper(User):
            @task
            def sleep(self):
                open(os.environ["BEGUN"], "a").write("begun\\n")
                time.sleep(300)
  load: {users: 2, spawnRate: 2, duration: 10m, gracefulStop: 5m}
  workers: {replicas: 1}
"""
promise = pytest.mark.promise


@pytest.fixture(autouse=True)
def terminal():
    """Have processes start as in a terminal: `nohup`, which may have started the tests, lets them ignore SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def catches(process: subprocess.Popen, number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << number - 1)


@promise("local-interrupt")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("seconds", [0, 1])
def test_a_signal_before_the_run_begins_is_a_stop_that_says_that_nothing_was_run(tmp_path, number, seconds) -> None:
    # It waits for its file on standard input once everything is imported.
    with subprocess.Popen(
        [*PREFIX, "-", "--progress", "jsonl", "--results", str(tmp_path / "results")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: catches(process, signal.SIGHUP) and catches(process, signal.SIGTERM))
        time.sleep(seconds)
        process.send_signal(number)
        assert process.wait(60) == 130
        out, err = process.communicate()

    assert err == "loadstone: interrupted before the run began; nothing was run\n"
    outcome = json.loads(out)
    assert (outcome["verdict"], outcome["reason"], outcome["exitCode"]) == ("Aborted", "Stopped", 130)
    assert not (tmp_path / "results").exists()


@promise("local-interrupt", "stop-keeps-results")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_gives_iterations_ten_seconds_and_keeps_its_results(tmp_path, number) -> None:
    file, begun, status = tmp_path / "slow.yaml", tmp_path / "begun", tmp_path / "status.json"
    file.write_text(SLOW)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*PREFIX, str(file), "--results", str(tmp_path / "results"), "--status", str(status)],
        env={**os.environ, "BEGUN": str(begun)},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    until(begun.exists)
    # The terminal is closed: from now on nothing can be printed.
    os.close(ours)
    process.send_signal(number)
    signalled = time.monotonic()

    # What it takes beside that is the end of all processes.
    assert process.wait(60) == 130
    assert time.monotonic() - signalled < 3 * STOPPING_SECONDS
    told = json.loads(status.read_text())
    assert (told["verdict"], told["reason"]) == ("Aborted", "Stopped")
    assert len(list((tmp_path / "results").glob("slow-*.json.gz"))) == 1
    assert len(list((tmp_path / "results" / "logs").glob("slow-*.log.gz"))) == 1


@promise("local-interrupt", "stop-keeps-results")
def test_a_second_interrupt_does_not_wait_for_iterations_that_the_first_one_lets_finish(tmp_path) -> None:
    file, begun, status = tmp_path / "slow.yaml", tmp_path / "begun", tmp_path / "status.json"
    file.write_text(SLOW)
    process = subprocess.Popen(
        [*PREFIX, str(file), "--quiet", "--results", str(tmp_path / "results"), "--status", str(status)],
        env={**os.environ, "BEGUN": str(begun)},
        stdin=subprocess.DEVNULL,
    )
    try:
        until(begun.exists)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        process.send_signal(signal.SIGINT)
        signalled = time.monotonic()
        assert process.wait(60) == 130
        assert time.monotonic() - signalled < 3 * STOPPING_SECONDS
    finally:
        process.kill()
    told = json.loads(status.read_text())
    assert (told["verdict"], told["reason"], told["exitCode"]) == ("Aborted", "Stopped", 130)
    assert len(list((tmp_path / "results").glob("slow-*.json.gz"))) == 1


def test_under_nohup_a_closed_terminal_does_not_stop_a_run(tmp_path) -> None:
    with subprocess.Popen(
        ["nohup", *PREFIX, "-", "--results", str(tmp_path / "results")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: catches(process, signal.SIGTERM))
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate("kind: Nothing\n", timeout=60)

    assert process.returncode == 1
    assert "LoadTest" in err

"""A container that is told to end while it still starts ends at once, though it is the first process of its kind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.lacking import lacks

promise = pytest.mark.promise


def first_child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


@promise("delete-cleans")
def test_a_process_of_its_own_that_still_starts_ends_when_it_is_told_to(tmp_path) -> None:
    if os.geteuid():
        lacks("a namespace of processes needs root")
    # Nobody writes into it, so the master waits where it reads its plan: before it has begun to listen for anything.
    plan = tmp_path / "run.json"
    os.mkfifo(plan)
    environment = {**os.environ, "LOADSTONE_RUN_FILE": str(plan), "LOADSTONE_SOCKET_DIR": str(tmp_path / "s")}
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "loadstone_runner", "master"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 30
            while not (tmp_path / "s").exists():
                assert time.monotonic() < deadline, "the master did not start"
                time.sleep(0.05)
            time.sleep(0.2)
            first = first_child(process.pid)
            assert first is not None
            os.kill(first, 15)
            assert process.wait(10) == 143
        finally:
            process.kill()

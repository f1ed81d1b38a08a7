"""Where code is that lets nothing have a turn is told, whether or not it holds the interpreter."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HEAD = """
from gevent import monkey

monkey.patch_all()

import re, time
from loadstone_runner.engine import standstill

standstill.STANDSTILL_SECONDS, standstill.TURN_SECONDS = 0.5, 0.05
watch = standstill.Standstill()
watch.look()
"""


def said_by(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def test_where_python_code_stands_still_is_told() -> None:
    said = said_by(
        "def visit():\n    end = time.monotonic() + 2\n    while time.monotonic() < end: pass\n\nvisit()\nwatch.close()"
    )

    assert said.count("Timeout (0:00:00.500000)!") == 1
    assert " in visit\n" in said
    assert "Stack (most" not in said, "nobody reads the frames of code that runs"


def test_where_code_stands_still_that_lets_no_other_thread_run_is_told() -> None:
    said = said_by("def visit():\n    re.fullmatch('(a|a)*b', 'a' * 24)\n\nvisit()\nwatch.close()")

    assert "Stack (most recent call first)" in said
    assert " in visit\n" in said


def test_a_process_that_was_stopped_as_a_whole_is_read_by_no_signal() -> None:
    said = said_by(
        """
        import os, subprocess
        stop = f"sleep 0.3; kill -STOP {os.getpid()}; sleep 2; kill -CONT {os.getpid()}"
        with subprocess.Popen(["sh", "-c", stop]) as shell:
            while shell.poll() is None:
                watch.look()
        watch.close()
        """
    )

    assert "Stack (most" not in said


def test_code_that_computes_for_long_once_nobody_watches_goes_on() -> None:
    assert said_by("watch.close()\ntime.sleep(0.2)\nre.fullmatch('(a|a)*b', 'a' * 24)") == ""


def test_a_script_that_has_the_signal_for_itself_keeps_it() -> None:
    said = said_by(
        """
        import signal
        watch.close()
        signal.signal(signal.SIGPROF, lambda *_: print("its own", file=__import__("sys").stderr))
        again = standstill.Standstill()
        again.look()
        re.fullmatch('(a|a)*b', 'a' * 24)
        again.close()
        """
    )

    assert "its own" not in said


def test_a_script_that_takes_the_signal_later_has_its_timer_for_itself() -> None:
    said = said_by(
        """
        import signal, sys
        signal.signal(signal.SIGPROF, lambda *_: print("its own", file=sys.stderr))
        signal.setitimer(signal.ITIMER_PROF, 0.6)
        end = time.process_time() + 1
        while time.process_time() < end:
            watch.look()
        watch.close()
        signal.setitimer(signal.ITIMER_PROF, 0.3)
        watch.close()
        end = time.process_time() + 1
        while time.process_time() < end: pass
        """
    )

    assert said == "its own\nits own\n"


@pytest.mark.parametrize("seconds", [0, 0.3], ids=["between two turns of the watch", "for longer"])
@pytest.mark.parametrize("back", ["found", "signal.SIG_DFL"])
def test_a_script_that_gives_the_signal_back_lives_on(seconds: float, back: str) -> None:
    said = said_by(
        f"""
        import signal
        found = signal.signal(signal.SIGPROF, lambda *_: None)
        time.sleep({seconds})
        signal.signal(signal.SIGPROF, {back})
        time.sleep(0.2)
        end = time.process_time() + 1
        while time.process_time() < end:
            watch.look()
        re.fullmatch('(a|a)*b', 'a' * 24)
        watch.close()
        """
    )

    assert "Stack (most" not in said


def test_a_loop_that_goes_round_is_told_of_by_nobody() -> None:
    assert said_by("for _ in range(20):\n    time.sleep(0.1)\n    watch.look()\nwatch.close()") == ""

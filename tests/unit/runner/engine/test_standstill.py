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


@pytest.mark.parametrize(
    "stand",
    ["end = time.monotonic() + 2\n    while time.monotonic() < end: pass", "re.fullmatch('(a|a)*b', 'a' * 26)"],
    ids=["python", "with the interpreter held"],
)
def test_where_code_stands_still_is_told(stand: str) -> None:
    said = said_by(f"def visit():\n    {stand}\n\nvisit()\nwatch.close()")

    assert said.count("Timeout (0:00:00.500000)!") >= 1
    assert " in visit\n" in said


def test_a_loop_that_goes_round_is_told_of_by_nobody() -> None:
    assert said_by("for _ in range(20):\n    time.sleep(0.1)\n    watch.look()\nwatch.close()") == ""

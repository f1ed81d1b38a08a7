"""`make test` runs its steps side by side; these are steps of a Makefile of the tests' own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = Path(__file__).parents[2] / "tools" / "steps.py"
MAKEFILE = """
SHELL := /bin/bash
.PHONY: one two good bad nice meets waits
one two good: ; @echo said by $@; echo $@ >>order
bad: ; @echo the reason; exit 3
nice: ; @echo niceness `nice`
meets: ; @touch meets; until [ -e waits ]; do sleep 0.02; done
waits: ; @touch waits; until [ -e meets ]; do sleep 0.02; done
endless: ; @trap 'echo taken down; exit 1' TERM; touch begun; while :; do sleep 0.02; done
"""


@pytest.fixture
def steps(tmp_path: Path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(STEPS), *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(*words: str) -> tuple[int, str]:
        process = start(*words)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    run.start = start
    return run


def test_the_words_of_a_lane_run_in_order_and_a_group_waits_for_the_one_before(steps, tmp_path) -> None:
    code, output = steps("two one", "then", "good")

    assert code == 0, output
    assert (tmp_path / "order").read_text().split() == ["two", "one", "good"]
    assert output.index("said by two") < output.index("said by one") < output.index("said by good")


@pytest.mark.parametrize("word", ["beside", "behind"])
def test_lanes_of_a_group_run_at_the_same_time(steps, word) -> None:
    code, output = steps("meets", word, "waits")

    assert code == 0, output


def test_what_runs_behind_leaves_the_processors_to_the_others(steps) -> None:
    _, alone = steps("nice")
    _, output = steps("good", "behind", "nice")

    assert f"niceness {os.nice(0)}\n" in alone
    assert "niceness 19\n" in output


def test_a_failure_ends_the_output_and_nothing_new_starts(steps, tmp_path) -> None:
    code, output = steps("bad one", "beside", "good", "then", "two")

    end = output[output.index("=== steps") :]
    assert code == 1
    assert output.count("the reason") == end.count("the reason") == 1
    assert "said by" not in end
    assert end.splitlines()[-1] == "Failed: bad. Whole output: .test-output/"
    assert not {"one", "two"} & set((tmp_path / "order").read_text().split())


def test_a_signal_reaches_what_runs_and_its_own_end_is_waited_for(steps, tmp_path) -> None:
    process = steps.start("endless one")
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "taken down" in output
    assert not (tmp_path / "order").exists()


@pytest.mark.parametrize("words", [(), ("one", "two"), ("one", "then"), ("then", "one", "two"), ("one", "near", "two")])
def test_a_plan_without_sense_runs_nothing_and_says_where(steps, tmp_path, words) -> None:
    code, output = steps(*words)

    assert code == 2
    assert output.startswith("steps: ")
    assert not (tmp_path / "order").exists()

"""Run steps of the Makefile, some beside others, and end with what failed. What a step does belongs in the Makefile.

    steps.py "lint types" beside images then e2e behind "unit contract" then component

Words in one argument run one after another. `beside` starts what follows at the same time, with the same rights;
`behind` does so, too, but leaves the processors to the others as far as these want them; `then` waits for all before
it. Nothing new starts once a step has failed. The output of a step comes in one piece when it has ended; that of a
failed one stands at the very end, and all of it in FOLDER. The exit code is 1 if a step has failed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

FOLDER = Path(".test-output")
MOST_LINES = 400  # of a failed step's output; what CI shows of a log has an end, too


@dataclass(frozen=True, slots=True)
class Lane:
    """Steps that run one after another, and whether they leave the processors to others."""

    steps: tuple[str, ...]
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What a step took, in seconds, and its exit code."""

    step: str
    code: int
    wall: float
    processor: float

    def __str__(self) -> str:
        word = "ok" if self.code == 0 else f"FAILED with {self.code}"
        return f"{self.step:<20} {word:<16} {self.wall:6.0f} s, {self.processor:6.0f} s of processor time"


def read_plan(words: list[str]) -> list[list[Lane]]:
    """Return the groups of lanes that the command line asks for.

    Raises:
        ValueError: two lanes without a word between them, or a word without a lane.
    """
    groups: list[list[Lane]] = [[]]
    joint = "then"
    for place, word in enumerate(words):
        if place % 2 == 0:
            steps = tuple(word.split())
            if not steps or word in {"then", "beside", "behind"}:
                raise ValueError(f"steps: {word!r} stands where steps are wanted")
            groups[-1].append(Lane(steps, yields=joint == "behind"))
        elif word in {"then", "beside", "behind"}:
            joint = word
            groups += [[]] if word == "then" else []
        else:
            raise ValueError(f"steps: write then, beside or behind before {word!r}")
    if len(words) % 2 == 0:
        raise ValueError("steps: name the steps to run, in an odd number of arguments")
    return groups


@dataclass(slots=True)
class Course:
    """What runs now and what has run."""

    done: list[Done] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_interrupted: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether nothing new is to start."""
        return self.is_interrupted or any(each.code for each in self.done)

    def run_group(self, lanes: list[Lane]) -> None:
        """Run lanes beside each other and wait for all of them."""
        threads = [threading.Thread(target=self._run_lane, args=(lane,)) for lane in lanes]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _run_lane(self, lane: Lane) -> None:
        for step in lane.steps:
            if self.has_failed:
                return
            self._run_step(step, yields=lane.yields)

    def _run_step(self, step: str, *, yields: bool) -> None:
        began = time.monotonic()
        command = [
            *(("nice", "-n", "19") if yields else ()),
            os.environ.get("MAKE", "make"),
            "--no-print-directory",
            step,
        ]
        with output_of(step).open("wb") as output:
            # A session of its own: whatever is started in it can be ended, and be made to yield, as a whole.
            with self.lock:
                if self.is_interrupted:
                    return
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
                self.running[step] = process.pid
                if self.is_interrupted:  # a moment ago, by a signal that could not know of it yet
                    self._pass_on(process.pid, signal.SIGTERM)
                print(f"--- {step}: started", flush=True)
            if yields:
                with contextlib.suppress(OSError):  # kernels without groups of sessions heed `nice` alone
                    Path(f"/proc/{process.pid}/autogroup").write_text("19")
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        done = Done(step, process.returncode, time.monotonic() - began, used.ru_utime + used.ru_stime)
        with self.lock:
            del self.running[step]
            self.done.append(done)
            shown = [] if done.code else lines_of(step)
            print(f"--- {done}", *shown, sep="\n", flush=True)

    def interrupt(self, number: int, _frame: FrameType | None) -> None:
        """Pass a signal on to all that runs; each step ends in its own way."""
        self.is_interrupted = True
        for pid in list(self.running.values()):
            self._pass_on(pid, number)

    @staticmethod
    def _pass_on(pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)


def output_of(step: str) -> Path:
    """Return the file that keeps a step's output."""
    return FOLDER / f"{step}.log"


def lines_of(step: str) -> list[str]:
    """Return the output of a step."""
    return output_of(step).read_text(errors="replace").splitlines()


def closing(course: Course) -> Iterator[str]:
    """Yield what stands at the end: the steps with their times, then the output of those that failed."""
    yield "\n=== steps"
    yield from (str(each) for each in course.done)
    failed = [each for each in course.done if each.code]
    for each in failed:
        lines = lines_of(each.step)
        yield f"\n=== {each.step}" + (f" (the last {MOST_LINES} lines)" if len(lines) > MOST_LINES else "")
        yield from lines[-MOST_LINES:]
    if failed:
        yield f"\nFailed: {', '.join(each.step for each in failed)}. Whole output: {FOLDER}/"
    elif course.is_interrupted:
        yield "\nInterrupted"


def main(words: list[str]) -> int:
    """Run the steps; return the exit code."""
    try:
        groups = read_plan(words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    course = Course()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, course.interrupt)
    for lanes in groups:
        if not course.has_failed:
            course.run_group(lanes)
    print(*closing(course), sep="\n", flush=True)
    return int(course.has_failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Custom messages between the director and the engines of two workers, all processes real."""

import asyncio
import gzip
import json
import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loadstone_core.load.profile import FOREVER_NS, LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.digest import files_digest
from loadstone_runner.local.run import LocalResult, LocalRun

SECOND = 1_000_000_000
# What takes a minute or more is in the soak; what is promised holds for any length.
IS_SOAK = "LOADSTONE_SOAK" in os.environ
SLOW_SECONDS = 75 if IS_SOAK else 8
COMPUTE_SECONDS = 30 if IS_SOAK else 2
HOLD_SECONDS = 30 if IS_SOAK else 8
FLOOD_GROWTH_MOST = 20_000_000
promise = pytest.mark.promise

HEAD = """
import json, os, time
import gevent
from gevent.event import Event
from loadstone import *

hold = Event()  # users wait for it, and the load with them
hold.set()


def note(**fields):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(fields, default=str) + chr(10))


class Visitor(User):
    wait = constant(0.05)

    @task
    def turn(self):
        hold.wait()
        with measure("turn"):
            pass

"""


@dataclass
class Ran:
    """A run that is over: its end, its reports, and what its script has noted."""

    result: LocalResult
    reports: list[Any] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)

    def noted(self, what: str) -> list[Any]:
        return [each[what] for each in self.notes if what in each]


def run(
    folder: Path,
    script: str,
    *,
    seconds: int | None = 3,
    workers: int = 2,
    engines: int = 1,
    users: int = 4,
    **plan: Any,
) -> Ran:
    files = {"test.py": (HEAD + textwrap.dedent(script)).encode()}
    if seconds is None:
        # As long as the script lets its users wait.
        load = LoadProfile(Model.ITERATIONS, Profile((Segment(0, FOREVER_NS, users, users),), None), users)
    else:
        end_ns = seconds * SECOND
        load = LoadProfile(Model.USERS, Profile((Segment(0, end_ns, users, users),), end_ns), None)
    made = RunPlan(
        run=RunIdentity(uid="messages/1", loadtest="messages", namespace="local", number=1, epoch=1),
        spec_digest="sha256:00",
        workers=workers,
        engines_per_worker=engines,
        scenarios=(Scenario(name="default", user=None, load=load, graceful_stop_ns=5 * SECOND, target=None),),
        tolerance_ppm=50_000,
        target=None,
        percentiles=("50",),
        thresholds=(),
        warm_up_ns=0,
        startup_timeout_ns=60 * SECOND,
        script=ScriptRef(digest=files_digest(files), directory="/scripts", entrypoint="test.py"),
        **plan,
    )
    notes, reports = folder / "notes", []
    notes.touch()
    local = LocalRun(
        plan=made,
        files=files,
        environment={"NOTES": str(notes), "COMPUTE": str(COMPUTE_SECONDS), "HOLD": str(HOLD_SECONDS)},
        on_report=reports.append,
    )
    result = asyncio.run(asyncio.wait_for(local.run(), 100 + (seconds or 0)))
    return Ran(result, reports, [json.loads(line) for line in notes.read_text().splitlines()])


@promise("messages")
def test_messages_go_both_ways_and_their_senders_hear_what_became_of_them(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("collect")
        def collect(message):
            note(collected=[message.data, str(message.sender)])
            return {"seen": message.data}

        @on_message("greet")
        def greet(message):
            note(greeted=message.sender)
            return b"from " + message.data

        @on_message("broken")
        def broken(message):
            raise ValueError("no")

        @events.test_start.add_listener
        def begin(environment):
            if not environment.is_director:
                answer = send_message("collect", ["a", 1]).wait(10)
                note(answered=[answer.status, answer.result, str(answer.answers[0].by)])
                return
            told = send_message("greet", b"director", to="workers").wait(10)
            note(told=[told.status, len(told.answers), sorted(each.result.decode() for each in told.answers)])
            one = send_message("greet", b"one", to=1).wait(10)
            note(one=[one.status, [str(each.by) for each in one.answers]])
            place = send_message("greet", b"place", to=Place(0, 1)).wait(10)
            note(place=[place.status, [str(each.by) for each in place.answers]])
            for name, to in (("nobody", 0), ("greet", 7), ("broken", Place(0)), ("collect", "director")):
                other = send_message(name, to=to).wait(10)
                note(other=[name, other.status, other.reason])
        """,
        engines=2,
    )

    assert ran.result.outcome.verdict == "Passed", ran.result.outcome
    senders = {f"worker {worker} engine {engine}" for worker in (0, 1) for engine in (0, 1)}
    assert {sender for data, sender in ran.noted("collected") if data == ["a", 1]} == senders
    assert len(ran.noted("collected")) == 5
    assert ran.noted("answered") == [["processed", {"seen": ["a", 1]}, "director"]] * 4
    assert ran.noted("told") == [["processed", 4, ["from director"] * 4]]
    assert ran.noted("one") == [["processed", ["worker 1 engine 0", "worker 1 engine 1"]]]
    assert ran.noted("place") == [["processed", ["worker 0 engine 1"]]]
    assert ran.noted("other") == [
        ["nobody", "rejected", "nothing handles messages of the name 'nobody' there: see @on_message"],
        [
            "greet",
            "rejected",
            "there is no worker 7 engine 0: the run has 2 workers with 2 engines each, counted from 0",
        ],
        ["broken", "failed", "ValueError: no"],
        ["collect", "processed", ""],
    ]


@promise("messages", "handlers-beside")
@pytest.mark.timeout(300)
def test_slow_handlers_in_director_and_engines_delay_nothing_and_a_stop_does_not_wait_for_them(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("slow")
        def slow(message):
            note(begun=time.monotonic())
            time.sleep(3600)
            note(ended=True)

        @events.test_start.add_listener
        def begin(environment):
            send_message("slow", to="workers" if environment.is_director else "director")
        """,
        seconds=SLOW_SECONDS,
    )

    outcome = ran.result.outcome
    assert outcome.verdict == "Passed", outcome
    assert len(ran.noted("begun")) == 3, "both engines, and the first of two in the director's ordered lane"
    assert not ran.noted("ended")
    assert {each.state for report in ran.reports for each in report.workers} & {"lost", "suspect"} == set()
    findings = [each for each in ran.result.report.findings if each.startswith("HandlerErrors: ")]
    assert findings == [
        "HandlerErrors: 2 message handlers that were slow in engines, mostly slow: took longer than 5 s",
        "HandlerErrors: 1 message handlers that were slow in the director, mostly slow: took longer than 5 s",
    ]
    load = json.loads(outcome.load_json)
    assert load["achieved"] >= load["planned"] * 0.95
    timeline = json.loads(gzip.decompress(ran.result.report_gzip))["timeline"]
    rows = [dict(zip(timeline["fields"], row, strict=True)) for row in timeline["rows"]]
    assert [row["second"] for row in rows] == list(range(len(rows)))
    assert len(rows) >= SLOW_SECONDS
    assert all(row["requests"] > 0 for row in rows[:SLOW_SECONDS])


@promise("handlers-beside")
def test_users_stop_at_once_while_handlers_still_run(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        last = 0.0

        class Walker(User):
            wait = constant(0.05)

            @task
            def walk(self):
                global last
                last = time.monotonic()
                with measure("walk"):
                    pass

        @on_message("slow")
        def slow(message):
            time.sleep(3600)

        @events.test_start.add_listener
        def begin(environment):
            send_message("slow", to="workers" if environment.is_director else "director")
            if environment.is_director:
                gevent.spawn_later(3, stop)

        def stop():
            note(asked=time.monotonic())
            stop_run("enough")

        @events.quitting.add_listener
        def end(environment):
            if last:
                note(last=last)
        """,
        seconds=60,
    )

    assert (ran.result.outcome.verdict, ran.result.outcome.reason) == ("Aborted", "Stopped"), ran.result.outcome
    [asked] = ran.noted("asked")
    assert ran.noted("last")
    # Another engine's code would have gone on for as long as its handler.
    assert max(ran.noted("last")) - asked < 5.0


@promise("messages")
def test_a_flood_runs_in_the_pool_only_and_each_message_is_processed_or_rejected_to_its_sender(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        running = most = 0
        sizes = []

        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        @on_message("flood", concurrent=True, pool=32, queue=1000)
        def flood(message):
            global running, most
            running += 1
            most = max(most, running)
            sizes.append(resident())
            time.sleep(0.1)
            running -= 1

        @on_message("most")
        def tell(message):
            return [most, max(sizes) - sizes[0]]

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                return
            sent = [send_message("flood", number) for number in range(10_000)]
            receipts = [each.wait(60) for each in sent]
            counts = {}
            for each in receipts:
                why = each.reason.split(":")[0]
                counts[f"{each.status} {why}"] = counts.get(f"{each.status} {why}", 0) + 1
            note(counts=counts, most=send_message("most").wait(10).result)
            stop_run("done")
        """,
        seconds=80,
        workers=1,
    )

    [[most, growth]] = ran.noted("most")
    assert most == 32
    assert growth < FLOOD_GROWTH_MOST
    [counts] = ran.noted("counts")
    assert sum(counts.values()) == 10_000
    assert set(counts) == {"processed ", "rejected the lane is full"}
    assert counts["processed "] >= 1_000
    assert ran.result.outcome.reason == "Stopped", ran.result.outcome


@promise("messages")
def test_messages_to_a_worker_that_is_lost_are_rejected_with_the_reason(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("die")
        def die(message):
            os.kill(os.getpid(), 9)

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                dead = send_message("die", to=1)
                note(dead=dead.wait(60))
                note(later=send_message("die", to=1).wait(10))
                stop_run("done")
        """,
        seconds=80,
    )

    [dead], [later] = ran.noted("dead"), ran.noted("later")
    assert dead[0] == later[0] == "rejected"
    assert dead[1] == later[1]
    assert dead[1].startswith("worker 1 was lost: ")
    assert "signal 9" in dead[1]


@promise("director-lost")
def test_a_run_whose_script_handles_messages_needs_its_director_to_the_end(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("die")
        def die(message):
            os.kill(os.getpid(), 9)

        @events.test_start.add_listener
        def begin(environment):
            if not environment.is_director:
                note(became=send_message("die").wait(60))
        """,
        seconds=60,
        workers=1,
    )

    outcome = ran.result.outcome
    assert (outcome.verdict, outcome.reason) == ("Error", "DirectorLost"), outcome
    assert "signal 9, and with it what handlers of custom messages knew" in outcome.message
    [became] = ran.noted("became")
    assert became[0] == "rejected"
    assert "the director ended with signal 9" in became[1]


@promise("handler-errors")
@pytest.mark.parametrize("is_fatal", [False, True])
def test_failed_handlers_are_counted_told_and_make_the_run_an_error_by_policy_only(tmp_path, is_fatal) -> None:
    ran = run(
        tmp_path,
        """
        hold.clear()

        @on_message("end")
        def end(message):
            hold.set()

        @on_message("broken", concurrent=True)
        def broken(message):
            raise ValueError(f"number {message.data % 2}")

        @on_message("late", timeout=0.2)
        def late(message):
            time.sleep(60)

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                sent = [send_message("broken", number, to=0) for number in range(1000)]
                note(late=send_message("late", to=0).wait(60))
                assert all(each.wait(60).status == "failed" for each in sent)
                send_message("end", to=0)
            else:
                note(broken=send_message("broken", 3).wait(60))
        """,
        seconds=None,
        workers=1,
        fails_on_handler_error=is_fatal,
    )

    outcome = ran.result.outcome
    assert (outcome.verdict, outcome.reason) == (("Error", "HandlerFailed") if is_fatal else ("Passed", "Passed"))
    assert ran.noted("late") == [["failed", "took longer than its timeout of 0.2 s", ran.noted("late")[0][2]]]
    assert ran.noted("broken")[0][:2] == ["failed", "ValueError: number 1"]
    findings = [each for each in ran.result.report.findings if each.startswith("HandlerErrors: ")]
    assert findings == [
        "HandlerErrors: 1001 errors of message handlers in engines, mostly broken: ValueError: number 0",
        "HandlerErrors: 1 errors of message handlers in the director, mostly broken: ValueError: number 1",
    ]


@promise("messages")
def test_a_sender_waits_for_a_lane_that_wants_it_to_and_nothing_is_lost_or_disordered(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        seen, finished = {}, []

        @on_message("step", queue=10, overflow="block_sender")
        def step(message):
            seen.setdefault(message.sender, []).append(message.data)
            time.sleep(0.005)

        @on_message("done")
        def done(message):
            note(**message.data)
            finished.append(message.sender)
            if len(finished) == 2:
                note(seen=[numbers == list(range(len(numbers))) and len(numbers) for numbers in seen.values()])
                stop_run("done")

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                return
            # More than there is room for, at once; when the first is done, the last have been sent back.
            sent = [send_message("step", number) for number in range(60)]
            sent[0].wait(60)
            before = sum(each.is_done for each in sent)
            sent.append(send_message("step", 60))
            waited = sum(each.is_done for each in sent) - before
            sent += [send_message("step", number) for number in range(61, 100)]
            send_message("done", {"statuses": [each.wait(60).status for each in sent], "waited": waited})
        """,
        seconds=80,
    )

    assert ran.noted("statuses") == [["processed"] * 100] * 2
    assert ran.noted("seen") == [[100, 100]]
    assert min(ran.noted("waited")) >= 10


def is_alive(process: int) -> bool:
    """Say whether a process lives; one that has ended may wait for whoever takes note of it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@promise("messages-process", "handlers-beside")
@pytest.mark.timeout(300)
def test_a_handler_that_computes_in_its_own_process_leaves_the_loop_of_its_engine_alone(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        def compute(seconds):
            begun = time.monotonic()
            while time.monotonic() < begun + seconds:
                pass
            return [begun, time.monotonic()]

        @on_message("compute", where="process")
        def computing(message):
            assert isinstance(message.data, bytes)
            return [os.getpid(), *compute(int(os.environ["COMPUTE"]))]

        @on_message("for ever", where="process", timeout=1)
        def computing_for_ever(message):
            import signal
            if message.data == "deaf":
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
            compute(3600 if message.data != "short" else 0.01)

        @on_message("raise", where="process")
        def raising(message):
            raise KeyError("in there")

        @on_message("exit", where="process")
        def exiting(message):
            os._exit(3)

        turns = []

        def watch():
            while True:
                gevent.sleep(0.02)
                turns.append(time.monotonic())

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                receipts = [send_message("compute", b"bytes", to=0) for _ in range(2)]
                others = [("for ever", None), ("for ever", "deaf"), ("for ever", "short"), ("raise", None)]
                others += [("exit", None), ("exit", None)]
                sent = [(name, send_message(name, data, to=0)) for name, data in others]
                note(others=[[name, *each.wait(90)[:2]] for name, each in sent])
                computed = [each.wait(90) for each in receipts]
                note(reasons=[each.reason for each in computed], computed=[each.result for each in computed])
                stop_run("done")
            else:
                note(engine=os.getpid())
                gevent.spawn(watch)

        @events.test_stop.add_listener
        def end(environment):
            if turns:
                note(turns=turns)
        """,
        seconds=80 + 2 * COMPUTE_SECONDS,
        workers=1,
    )

    assert ran.result.outcome.reason == "Stopped", ran.result.outcome
    assert ran.noted("reasons") == [["", ""]]
    [computed], [pid], [turns] = ran.noted("computed"), ran.noted("engine"), ran.noted("turns")
    assert computed[0][0] == computed[1][0] != pid
    assert not is_alive(computed[0][0])
    for _, begun, ended in computed:
        # In the engine the handler would stand in the way of every single one.
        assert sum(begun < turn < ended for turn in turns) >= 10 * COMPUTE_SECONDS
    assert ran.noted("others") == [
        [
            ["for ever", "failed", "took longer than its timeout of 1 s"],
            ["for ever", "failed", "took longer than its timeout of 1 s"],
            ["for ever", "processed", ""],
            ["raise", "failed", "KeyError: 'in there'"],
            ["exit", "failed", "the process of its handler ended; the log of the container says why"],
            ["exit", "failed", "the process of its handler ended; the log of the container says why"],
        ]
    ]


@promise("handlers-beside")
def test_a_handler_that_holds_the_interpreter_degrades_its_worker_and_loses_nothing(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        import re

        @on_message("hold")
        def hold(message):
            re.match(r"(a+)+$", "a" * 27 + "b")

        @on_message("compute")
        def compute(message):
            end = time.monotonic() + int(os.environ["HOLD"])
            while time.monotonic() < end:
                pass

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                send_message("compute", to=0)
                send_message("hold", to=1)
        """,
        seconds=HOLD_SECONDS + 6,
    )

    states = {each.state for report in ran.reports for each in report.workers}
    assert not states & {"lost", "suspect"}, states
    said = [each.message for report in ran.reports for each in report.workers if each.reason == "Degraded"]
    assert said, "the lag is told while it lasts"
    longest = max(float(each.split()[-2]) for each in said)
    assert HOLD_SECONDS / 2 < longest < HOLD_SECONDS + 52.0
    assert any(each.startswith("WorkerDegraded: worker ") for each in ran.result.report.findings)

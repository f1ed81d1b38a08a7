"""Handlers of custom messages that wait, compute, fail or hold on to everything, in real processes: who is delayed."""

import gzip
import json
import re
from itertools import pairwise

import pytest
from tests.component.messaging import COMPUTE_SECONDS, HOLD_SECONDS, IS_SOAK, SLOW_SECONDS, Ran, run
from tests.component.processes import is_alive
from tests.component.scraping import figure

promise = pytest.mark.promise
BEAT_GAP_SECONDS = 1.5
# Some milliseconds; where other tests take the processors, a turn has to wait for one.
LOOP_LATE_SECONDS = 0.1 if IS_SOAK else 0.5
STOP_SECONDS = 1.0  # some 20 ms, also while others take the processors


SLOW_TO_END = """
    class Leaving(Visitor):
        def on_stop(self):
            gevent.sleep(1.8)

    @on_message("noise")
    def noise(message):
        pass

    @events.test_stop.add_listener
    def last_but_one(environment):
        gevent.sleep(1.8)
        note(test_stop=environment.is_director)

    @events.quitting.add_listener
    def last(environment):
        gevent.sleep(1.8)
        note(quitting=environment.is_director)
    """


@promise("events")
def test_an_engine_whose_script_takes_its_time_at_each_step_of_the_end_is_not_killed_for_it(tmp_path) -> None:
    ran = run(tmp_path, SLOW_TO_END, workers=1, graceful_seconds=0)

    assert ran.result.outcome.verdict == "Passed", ran.result.outcome
    assert ran.noted("test_stop").count(False) == 1
    # All that is left of the time is not enough for the last one, and that is told.
    findings = ran.result.report.findings
    assert any("it was cut off" in each for each in findings), findings


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

        @on_message("quick")
        def quick(message):
            return message.data

        @events.test_start.add_listener
        def begin(environment):
            send_message("slow", to="workers" if environment.is_director else "director")
            if environment.is_director:
                for number in range(5):
                    send_message("quick", number, to="workers")
                send_message("quick", 5, to="director")
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
    check_beats(ran)
    check_lanes(ran)
    load = json.loads(outcome.load_json)
    assert load["achieved"] >= load["planned"] * 0.95
    timeline = json.loads(gzip.decompress(ran.result.report_gzip))["timeline"]
    rows = [dict(zip(timeline["fields"], row, strict=True)) for row in timeline["rows"]]
    assert [row["second"] for row in rows] == list(range(len(rows)))
    assert len(rows) >= SLOW_SECONDS
    assert all(row["requests"] > 0 for row in rows[:SLOW_SECONDS])


def check_beats(ran: Ran) -> None:
    """Heartbeats, of which there is one a second, were answered all the time."""
    gaps = ran.gaps()
    assert gaps
    p99 = gaps[len(gaps) * 99 // 100]
    print(f"heartbeats: {len(gaps)} gaps, p99 {p99:.3f} s")
    # These are bounds of the product: the texts are none of those for which a test is made again.
    assert p99 < BEAT_GAP_SECONDS, f"heartbeats came further apart than {BEAT_GAP_SECONDS} s: {gaps}"


def check_lanes(ran: Ran) -> None:
    """The lanes of director and engines are to be seen at the master, and each engine's at its agent."""
    master = ran.pages["master"]

    def of_run(metric: str, role: str, lane: str, *more: str) -> float:
        labels = sorted([f'lane="{lane}"', 'loadtest="messages"', f'role="{role}"', 'run="1"', *more])
        return figure(master, re.escape(f"loadstone_{metric}{{{','.join(labels)}}}"))

    for role, running, waiting in (("engine", 2, 0), ("director", 1, 1)):
        assert of_run("message_running", role, "slow") == running
        assert of_run("message_queue_depth", role, "slow") == waiting
        # It is as old as it has run, but for how long ago that was told.
        assert of_run("message_oldest_seconds", role, "slow") > SLOW_SECONDS / 2
        assert of_run("message_longest_seconds", role, "slow") > SLOW_SECONDS / 2
        assert of_run("message_longest_seconds", role, "quick") < SLOW_SECONDS / 2
    results = {role: of_run("messages_total", role, "quick", 'result="processed"') for role in ("engine", "director")}
    assert results == {"engine": 10, "director": 1}
    for worker in range(2):
        agent = ran.pages[f"agent-{worker}"]

        def of_engine(metric: str, lane: str, agent: str = agent) -> float:
            return figure(agent, re.escape(f'loadstone_agent_{metric}{{engine="0",lane="{lane}"}}'))

        assert of_engine("message_running", "slow") == 1
        assert of_engine("message_longest_seconds", "slow") > SLOW_SECONDS / 2
        assert of_engine("messages_processed_total", "quick") == 5


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
    assert max(ran.noted("last")) - asked < STOP_SECONDS, f"users went on for more than {STOP_SECONDS} s"


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
    # Each process has logged each kind once, with its traceback; the rest is in the counts.
    said = [line.partition(" | ")[::2] for line in ran.log.splitlines()]
    failed = [(who, text.rpartition("=")[2]) for who, text in said if "A handler failed" in text]
    assert sorted(failed) == [("director", "broken"), ("worker-0", "broken"), ("worker-0", "late")], ran.log
    raised = [who for who, text in said if text.startswith("ValueError: number ")]
    assert sorted(raised) == ["director", "worker-0"]
    traced = [who for who, text in said if "in broken" in text]
    assert sorted(traced) == ["director", "worker-0"]


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
        during = [turn for turn in turns if begun < turn < ended]
        assert len(during) >= 10 * COMPUTE_SECONDS
        late = sorted(after - before - 0.02 for before, after in pairwise(during))
        p99 = late[len(late) * 99 // 100]
        print(f"loop: {len(late)} turns, late by {p99:.3f} s at most but for one in a hundred")
        assert p99 < LOOP_LATE_SECONDS
        if IS_SOAK:  # nothing else takes the processors
            check_beats(ran)
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


@promise("messages-process")
def test_what_a_handler_in_its_own_process_has_started_ends_with_it(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        @on_message("tool", where="process", timeout=1)
        def tool(message):
            import multiprocessing, subprocess
            def work():
                child = subprocess.Popen(["sleep", "600"])
                note(child=child.pid)
                child.wait()
            by = multiprocessing.get_context("fork").Process(target=work)
            by.start()
            by.join()

        def lives(pid):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    return "sleep" in file.read()
            except OSError:
                return False

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                note(told=send_message("tool", None, to=0).wait(60).status)
                with open(os.environ["NOTES"]) as file:
                    [child] = [each["child"] for each in map(json.loads, file) if "child" in each]
                until = time.monotonic() + 10
                while lives(child) and time.monotonic() < until:
                    time.sleep(0.05)
                note(lives=lives(child))
                stop_run("done")
        """,
        seconds=80,
        workers=1,
    )

    assert ran.result.outcome.reason == "Stopped", ran.result.outcome
    assert ran.noted("told") == ["failed"]
    assert ran.noted("lives") == [False]


@promise("messages-process")
def test_a_handler_in_its_own_process_has_the_values_of_the_test_and_is_refused_what_needs_an_engine(tmp_path) -> None:
    (tmp_path / "notes.csv").write_text("a\n1\n")
    ran = run(
        tmp_path,
        """
        orders = Counter("orders")
        rows = csv_feeder(os.environ["NOTES"] + ".csv", order="unique")
        orders.add(1)  # the engine's affair, as the process only imports it

        def measured():
            with measure("PING"):
                pass

        ATTEMPTS = {
            "log": lambda: log("kept", durable=True),
            "stop": lambda: stop_run("enough"),
            "metric": lambda: orders.add(1),
            "check": lambda: check("fine", True),
            "measure": measured,
            "fire": lambda: events.request.fire(request_type="GET", name="a"),
            "row": rows.next,
            "message": lambda: send_message("other"),
        }

        @on_message("try", where="process")
        def attempt(message):
            if message.data == "config":
                log("a plain line")
                return config.get("greeting", "?")
            ATTEMPTS[message.data]()

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                note(config=send_message("try", "config", to=0).wait(60).result)
                sent = {name: send_message("try", name, to=0) for name in ATTEMPTS}
                note(refused={name: each.wait(60).reason for name, each in sent.items()})
                stop_run("done")
        """,
        seconds=60,
        workers=1,
        config={"greeting": "hello"},
    )

    assert ran.result.outcome.message == "the script stopped the run: done", ran.result.outcome
    assert ran.noted("config") == ["hello"]
    [refused] = ran.noted("refused")
    end = (
        " cannot be used in a handler with where='process'; return what it should know and do it in the sender,"
        " with the result of the receipt"
    )
    assert {name: why.removeprefix("RuntimeError: ").removesuffix(end) for name, why in refused.items()} == {
        "log": "log(durable=True)",
        "stop": "stop_run",
        "metric": "the counter 'orders'",
        "check": "check('fine')",
        "measure": "measure",
        "fire": "measure",
        "row": f"the feeder '{tmp_path}/notes.csv' with order='unique'",
        "message": "send_message('other')",
    }
    assert all(why.endswith(end) for why in refused.values())


@promise("handlers-beside")
def test_a_handler_that_holds_the_interpreter_degrades_its_worker_and_loses_nothing(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        import re

        @on_message("hold")
        def hold(message):
            # Each of these is one operation that gives nobody a turn; one more letter doubles its time.
            begun = time.monotonic()
            end, letters = begun + int(os.environ["HOLD"]), 18
            while (now := time.monotonic()) < end:
                re.match(r"(a+)+$", "a" * letters + "b")
                letters += time.monotonic() - now < (end - now) / 3
            note(held=time.monotonic() - begun)

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

    [held] = ran.noted("held")
    assert held >= HOLD_SECONDS
    states = {each.state for report in ran.reports for each in report.workers}
    assert not states & {"lost", "suspect"}, states
    check_beats(ran)
    found = [each for each in ran.result.report.findings if each.startswith("WorkerDegraded: ")]
    for worker in (0, 1):
        workers = [each for report in ran.reports for each in report.workers if each.worker == worker]
        # The lag is told while it lasts, with a figure, and of each worker its own.
        said = {each.message for each in workers if each.reason == "Degraded"}
        assert said, worker
        assert all(re.fullmatch(r"engine 0 stood still for [0-9.]+ s", each) for each in said), said
        longest = max(float(each.split()[-2]) for each in said)
        assert HOLD_SECONDS / 2 < longest < HOLD_SECONDS + 52.0, (worker, longest)
        assert any(f"worker {worker} " in each for each in found), (worker, found)


@promise("script-metrics")
def test_what_is_measured_in_the_director_is_in_no_result_and_a_finding_says_so(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        from loadstone import Counter, check, setup

        made = Counter("made")

        @setup
        def prepare(run):
            check("is prepared", False)
            made.add(3)

        @on_message("made")
        def count(message):
            made.add(1)

        @events.test_start.add_listener
        def begin(environment):
            made.add(5)
            if not environment.is_director:
                send_message("made").wait(30)
        """,
        workers=1,
    )

    report = json.loads(gzip.decompress(ran.result.report_gzip))
    (series,) = [each for each in report["series"] if each["metric"] == "made"]
    assert series["total"] == 5
    [finding] = [each for each in ran.result.report.findings if "samples" in each]
    # The check, the three of setup, of the handler and of the listener.
    assert finding.startswith("HandlerErrors: 4 samples that were not recorded in the director, mostly made: ")

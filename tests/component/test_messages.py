"""Custom messages between the director and the engines of two workers, all processes real."""

import json

import pytest
from tests.component.messaging import run

FLOOD_GROWTH_MOST = 20_000_000
promise = pytest.mark.promise


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
def test_ten_thousand_answers_come_to_a_sender_that_has_held_the_interpreter_meanwhile(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        from gevent.monkey import get_original

        @on_message("count", queue=20_000)
        def count(message):
            pass

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                return
            sent = [send_message("count", number) for number in range(10_000)]
            gevent.sleep(0.05)
            get_original("time", "sleep")(6)  # what waits is sent again meanwhile, all at once
            statuses = [each.wait(30).status for each in sent]
            note(statuses={each: statuses.count(each) for each in set(statuses)})
            stop_run("done")
        """,
        seconds=80,
        workers=1,
    )

    assert ran.noted("statuses") == [{"processed": 10_000}], ran.result.outcome
    # Each frame of what was sent again was one that a receiver takes.
    assert "Left out" not in ran.log


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
@pytest.mark.parametrize(
    ("process", "how"),
    [("os.getpid()", "ended with signal 9"), ("os.getppid()", "'s launcher has ended, and the director with it")],
    ids=["director", "launcher"],
)
def test_a_run_whose_script_handles_messages_needs_its_director_to_the_end(tmp_path, process, how) -> None:
    ran = run(
        tmp_path,
        f"""
        @on_message("die")
        def die(message):
            os.kill({process}, 9)
            time.sleep(60)

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
    assert f"{how}, and with it what handlers of custom messages knew" in outcome.message
    [became] = ran.noted("became")
    assert became[0] == "rejected"
    assert how in became[1]


@promise("director-lost")
@pytest.mark.parametrize(
    ("process", "how", "seconds"),
    [
        ("os.getpid()", "ended with signal 9", 4),
        # Its master waits for five seconds whether it comes again.
        ("os.getppid()", "'s launcher has ended, and the director with it", 9),
    ],
    ids=["director", "launcher"],
)
def test_a_run_whose_script_handles_no_messages_goes_on_without_its_director_and_says_so(
    tmp_path, process, how, seconds
) -> None:
    ran = run(
        tmp_path,
        f"""
        @teardown
        def clean(run):
            note(torn_down=True)

        @events.test_start.add_listener
        def begin(environment):
            if environment.is_director:
                note(begun=time.time())
                gevent.spawn_later(1, os.kill, {process}, 9)

        @events.test_stop.add_listener
        def end(environment):
            note(stopped=[environment.is_director, time.time()])
        """,
        seconds=seconds,
    )

    outcome = ran.result.outcome
    assert (outcome.verdict, outcome.reason) == ("Passed", "Passed"), outcome
    [finding] = [each for each in ran.result.report.findings if "director" in each]
    assert finding.startswith("HandlerErrors: ")
    assert finding.endswith(f"{how}; teardown was not run")
    assert not ran.noted("torn_down")
    [begun] = ran.noted("begun")
    assert [is_director for is_director, _ in ran.noted("stopped")] == [False] * 2
    assert all(stopped - begun > seconds * 0.8 for _, stopped in ran.noted("stopped"))
    load = json.loads(outcome.load_json)
    assert load["achieved"] >= load["planned"] * 0.95


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


@promise("messages")
def test_every_process_runs_256_handlers_at_a_time_of_its_64_kinds_and_no_more(tmp_path) -> None:
    ran = run(
        tmp_path,
        """
        KINDS, POOL, MOST = 63, 16, 256
        gate, ended = Event(), Event()
        hold.clear()
        running = most = 0

        def work(message):
            global running, most
            running += 1
            most = max(most, running)
            gate.wait()
            running -= 1
            return message.data

        for number in range(KINDS):
            on_message(f"kind {number}", concurrent=True, pool=POOL)(work)
        on_message("end")(lambda message: ended.set())
        try:
            on_message("one more")(work)
        except ValueError as error:
            note(refused=str(error))

        def open_gate(process):
            end = time.monotonic() + 60
            while running < MOST and time.monotonic() < end:
                gevent.sleep(0.01)
            gevent.sleep(1)  # in which more would begin
            note(process=[process, running, most])
            gate.set()

        @events.test_start.add_listener
        def begin(environment):
            gevent.spawn(open_gate, "director" if environment.is_director else "engine")
            to = 0 if environment.is_director else "director"
            sent = [(data, send_message(f"kind {data % KINDS}", data, to=to)) for data in range(KINDS * POOL)]
            answers = [(data, each.wait(90)) for data, each in sent]
            note(handled=sum(answer.status == "processed" and answer.result == data for data, answer in answers))
            if environment.is_director:
                send_message("end", to=0)
            else:
                ended.wait(90)
                hold.set()
        """,
        seconds=None,
        workers=1,
    )

    # So many handlers that begin at once may make a busy machine late with its load, which is no matter here.
    assert ran.result.outcome.reason in {"Passed", "GeneratorSaturated"}, ran.result.outcome
    assert len(ran.noted("refused")) == 2
    assert all(each.endswith("a script has at most 64 kinds of messages") for each in ran.noted("refused"))
    assert sorted(ran.noted("process")) == [["director", 256, 256], ["engine", 256, 256]]
    assert ran.noted("handled") == [63 * 16] * 2

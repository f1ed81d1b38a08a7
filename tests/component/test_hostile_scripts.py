"""Scripts that hold their engine up or flood it: what the run says of them, and that memory stays bounded.

What they raise, leave behind or measure wrongly is in test_script and test_script_events.
"""

import gzip
import re

from tests.component import engine_process
from tests.component.engine_process import Make, Target, users
from tests.component.test_preflight import run

from loadstone_core.stats.series import OVERFLOW_NAME, SERIES_CAP

engines = engine_process.engines
target = engine_process.target

MIB = 1 << 20


def test_a_million_request_names_and_paths_are_counted_in_bounded_memory(engines: Make, target: Target) -> None:
    engine = engines("""
        import gevent
        from loadstone import StopUser, User, measure, task

        class Flood(User):
            @task
            def flood(self):
                for number in range(20_000):
                    self.http.get(f"/{number}" + "x" * 500)
                    self.http.get("/", name=f"{number}" + "y" * 500)
                for number in range(1_000_000):
                    with measure(f"{number}", protocol="own") as call:
                        if number % 10 == 0:
                            call.failure(f"reason {number}")
                    if number % 1_000 == 0:
                        gevent.sleep(0)
                raise StopUser
    """)

    engine.start(users(1, 600.0, target.url))
    before = engine.agent.wait(lambda each: each.status.stage == engine_process.Stage.RUNNING).status.memory_bytes
    engine.agent.wait(lambda each: each.state.counters.iterations_completed == 1, 120)
    engine.stop()
    final = engine.agent.final()

    latencies = [each for each in final.series if each.key.metric == "latency"]
    assert sum(each.count for each in latencies) == final.counters.completed == 1_040_000
    assert target.count()["requests"] == 40_000
    assert len(final.series) <= SERIES_CAP + 10
    assert {each.key.name: each.count for each in latencies}[OVERFLOW_NAME] > 1_030_000
    assert sum(each.count for each in final.errors) == 120_000
    assert len(final.errors) <= 201
    after = max(each.status.memory_bytes for each in engine.agent.received if each.HasField("status"))
    assert after - before < 60 * MIB


def test_a_task_that_never_waits_is_killed_and_the_run_says_why(tmp_path, target) -> None:
    script = """
        from loadstone import User, constant, task

        class Stubborn(User):
            wait = constant(0.1)

            @task
            def visit(self):
                self.http.get("/", name="visit")
                while self.iteration == 5:
                    pass
    """

    status = run(tmp_path, script, 4, at=target.url, gracefulStop="1s")

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "WorkersLost", 1), status
    assert status["message"] == (
        "lost 1 of 1 worker: engine 0 of worker 0 died with signal 9: it did not end when it was told to and was "
        "killed; a task that never waits lets it hear nothing"
    )
    results = status["results"]
    low = results["requests"] - results["unsent"] - results["ambiguous"]
    assert low <= target.count()["requests"] <= results["started"] - results["unsent"]
    assert results["requests"] >= 21
    (log,) = (tmp_path / "results" / "logs").glob("*.log.gz")
    said = gzip.decompress(log.read_bytes()).decode()
    # Where it was all the time, though nothing of it had a turn.
    assert re.search(r'File "\S+test\.py", line \d+ in visit\n', said), said


def test_children_that_a_script_forks_wait_and_compute_and_have_no_part_in_its_load(tmp_path, target) -> None:
    script = """
        import multiprocessing, os, time
        from loadstone import User, check, constant, task

        fork = multiprocessing.get_context("fork")

        def compute(seconds):
            time.sleep(seconds)
            os._exit(7)

        class Shop(User):
            wait = constant(0.1)

            @task
            def visit(self):
                self.http.get("/", name="visit")
                if self.iteration == 5 and self.number == 0:
                    child = fork.Process(target=compute, args=(1,))
                    child.start()
                    child.join()
                    check("its own end", child.exitcode == 7)
                    child = fork.Process(target=compute, args=(60,))
                    child.start()
                    time.sleep(0.3)
                    child.terminate()
                    child.join()
                    check("ends when it is told to", child.exitcode == -15)
    """

    status = run(tmp_path, script, 4, at=target.url, gracefulStop="1s")

    assert (status["verdict"], status["results"]["unaccounted"]) == ("Passed", 0), status
    assert status["results"]["checks"] == {"passed": 2, "failed": 0}
    # Four users for 3 s, at most ten a second each.
    assert target.count()["requests"] == status["results"]["requests"] <= 125

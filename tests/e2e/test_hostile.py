"""Scripts and plans that would break their workers: what a real cluster says of them, and that nothing else suffers."""

import pytest

promise = pytest.mark.promise


def run(lab, script: str, *, seconds: float = 90.0, **load):
    document = lab.manifest("pass", source__inline__content=script)
    document["spec"]["load"] = {"target": document["spec"]["load"]["target"], "users": 10} | load
    document["spec"]["workers"]["maxLostPercent"] = 0
    # Only what happens to the workers is judged here.
    document["spec"].pop("thresholds", None)
    lab.reset_target()
    lab.apply(document)
    return lab.wait_finished(document["metadata"]["name"], seconds=seconds)


@promise("preflight")
def test_more_connections_than_a_worker_has_ports_are_refused_before_the_load(lab) -> None:
    script = (
        "from loadstone import User, task\n\n\nclass Visitor(User):\n    @task\n    def visit(self):\n"
        "        self.http.get('/')\n"
    )
    status = run(lab, script, users=140_000, duration="30s")

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "PreflightFailed", 1), status
    # The limit of open files and the memory of a worker are other shortages, depending on the node.
    assert "70,000 connections need 70,000 ports towards " in status["message"]
    assert ":80, this worker has 28,232 (32768-60999): use at least 5 workers, or" in status["message"]
    assert {each["type"]: each["status"] for each in status["conditions"]}["PreflightPassed"] == "False"
    assert lab.count() == 0


@promise("hostile-scripts")
def test_a_task_that_never_waits_costs_its_worker_and_the_status_says_why(lab) -> None:
    script = (
        "from loadstone import User, constant, task\n\n\nclass Stubborn(User):\n    wait = constant(0.1)\n\n"
        "    @task\n    def visit(self):\n        self.http.get('/')\n"
        "        while self.number == 0 and self.iteration == 5:\n            pass\n"
    )
    status = run(lab, script, duration="5s", gracefulStop="1s")

    assert (status["verdict"], status["reason"]) == ("Error", "WorkersLost"), status
    assert "lost 1 of 2 workers: " in status["message"]
    assert "a task that never waits" in status["message"]
    results = status["results"]
    assert results["requests"] - results["unsent"] - results["ambiguous"] <= lab.count()
    assert lab.count() <= results["started"] - results["unsent"]


@promise("hostile-scripts", "exact-totals")
def test_a_million_request_names_leave_the_totals_exact_and_the_worker_alive(lab) -> None:
    script = (
        "import gevent\nfrom loadstone import User, measure, task\n\n\nclass Flood(User):\n    @task\n"
        "    def flood(self):\n        for number in range(500_000):\n"
        "            with measure(f'{self.number} {number}', protocol='own'):\n                pass\n"
        "            if number % 1_000 == 0:\n                self.http.get(f'/?{number}', name=str(number))\n"
    )
    status = run(lab, script, users=2, iterationsPerUser=1, duration="5m", seconds=330)

    results = status["results"]
    assert (results["measured"], results["requests"]) == (1_000_000, 1_001_000), status
    assert results["requests"] - results["measured"] == lab.count() == 1_000
    assert not results["seriesComplete"]
    assert any(each.startswith("SeriesLimited") for each in status["findings"])
    assert status["reason"] not in {"WorkersLost", "WorkerOOM", "MasterLost"}


@promise("hostile-scripts", "exact-totals")
def test_sys_exit_in_a_task_ends_one_iteration_and_nothing_more(lab) -> None:
    script = (
        "import sys\nfrom loadstone import User, constant, task\n\n\nclass Rude(User):\n    wait = constant(0.1)\n\n"
        "    @task\n    def visit(self):\n        self.http.get('/')\n        if self.iteration % 2:\n"
        "            sys.exit('enough')\n"
    )
    status = run(lab, script, duration="4s")

    assert status["reason"] == "Passed", status
    assert (status["workers"]["lost"], status["results"]["failures"]) == (0, 0), status
    assert status["results"]["iterationErrors"] > 20
    assert any("SystemExit: enough" in each["error"] for each in status["results"]["topErrors"])
    lab.check_exact(status)


@promise("hostile-scripts")
def test_a_host_that_does_not_exist_is_a_named_failure_of_each_request(lab) -> None:
    script = (
        "from loadstone import User, constant, task\n\n\nclass Lost(User):\n    wait = constant(0.5)\n\n"
        "    @task\n    def visit(self):\n        self.http.get('/')\n"
    )
    status = run(lab, script, duration="4s", target="http://no-such-shop")

    results = status["results"]
    assert results["failures"] == results["requests"] == results["unsent"] > 0, status
    assert results["topErrors"][0]["error"].startswith("dns: no-such-shop: ")
    assert lab.count() == 0

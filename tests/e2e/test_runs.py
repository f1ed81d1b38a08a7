"""A LoadTest from `kubectl apply` to the verdict, each held against what the target counted."""

import base64
import gzip
import json
import time
from typing import Any

import pytest
from lab import Lab, until

promise = pytest.mark.promise


def read_report(lab: Lab, status: dict[str, Any]) -> dict[str, Any]:
    """Return the report that a status names."""
    held = lab.json("configmap", status["report"])["binaryData"]
    return json.loads(gzip.decompress(base64.b64decode(held["report.json.gz"])))


def column(report: dict[str, Any], name: str) -> list[int]:
    """Return one figure of each row of the timeline."""
    place = report["timeline"]["fields"].index(name)
    return [row[place] for row in report["timeline"]["rows"]]


@pytest.mark.telling
@promise("run-pass", "exact-totals", "status-complete", "report")
def test_two_workers_pass_and_the_status_holds_what_the_target_counted(lab) -> None:
    lab.apply(lab.manifest("pass"))
    status = lab.wait_finished("pass")

    assert (status["phase"], status["verdict"], status["reason"], status["exitCode"]) == (
        "Finished",
        "Passed",
        "Passed",
        0,
    ), status
    lab.check_exact(status)
    assert status["results"]["requests"] == lab.count() > 100
    assert status["results"]["unaccounted"] == status["results"]["failures"] == 0
    assert {entry["name"] for entry in status["results"]["endpoints"]} == {"front page", "/orders"}
    assert set(status["results"]["latencyMicros"]) >= {"avg", "min", "max", "p50", "p90", "p95", "p99"}
    assert [row["verdict"] for row in status["thresholds"]] == ["Passed"] * 3
    assert status["load"]["achieved"] >= status["load"]["planned"] * 0.99
    assert status["workers"]["ratio"] == "2/2"
    assert status["run"]["number"] == 1
    assert status["run"]["epoch"] >= 1
    assert status["run"]["timeToLoadMillis"] > 0
    assert 0 <= status["run"]["startSkewMicros"] < 1_000_000
    assert [entry["verdict"] for entry in status["history"]] == ["Passed"]
    conditions = {entry["type"]: entry["status"] for entry in status["conditions"]}
    assert conditions["Finished"] == conditions["Passed"] == conditions["Ready"] == "True", conditions
    report = read_report(lab, status)
    assert report["results"] == status["results"]
    assert sum(column(report, "requests")) == status["results"]["requests"]


@promise("kubectl-columns")
def test_kubectl_get_shows_phase_verdict_users_rate_p95_and_errors(lab) -> None:
    lab.apply(lab.manifest("pass"))
    lab.wait_finished("pass")

    header, row = lab.kubectl("get", "ldt").stdout.splitlines()
    assert header.split()[:9] == ["NAME", "PHASE", "VERDICT", "RUN", "WORKERS", "USERS", "RPS", "P95", "ERRORS"]
    cells = row.split()
    assert cells[:5] == ["pass", "Finished", "Passed", "1", "2/2"]
    assert cells[5] == "20"
    assert int(cells[6]) > 20
    assert cells[8] == "0%"
    assert "pass" in lab.kubectl("get", "loadtesting").stdout


@promise("events")
def test_events_tell_the_story_of_a_run(lab) -> None:
    lab.apply(lab.manifest("pass"))
    lab.wait_finished("pass")

    reasons = [
        event["reason"] for event in lab.json("events", "--field-selector", "involvedObject.kind=LoadTest")["items"]
    ]
    assert {"RunStarted", "LoadStarted", "Passed"} <= set(reasons), reasons


@pytest.mark.telling
@promise("run-threshold", "exact-totals")
def test_a_broken_threshold_fails_the_run_with_exit_code_99(lab) -> None:
    lab.apply(lab.manifest("threshold"))
    status = lab.wait_finished("threshold")

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Failed", "ThresholdsFailed", 99), status
    assert {row["name"]: row["verdict"] for row in status["thresholds"]} == {"reliable": "Failed", "quick": "Passed"}
    assert status["results"]["errorRatePpm"] == 500_000
    assert status["results"]["requests"] == lab.count()


@promise("run-rate", "exact-totals")
def test_an_arrival_rate_of_200_a_second_is_held_within_one_percent(lab) -> None:
    lab.apply(lab.manifest("rate"))
    status = lab.wait_finished("rate")

    assert status["verdict"] == "Passed", status
    assert status["load"]["planned"] == 2000
    assert abs(status["results"]["iterations"] - 2000) <= 20
    assert status["results"]["requests"] == lab.count()


@promise("run-stages", "exact-totals")
def test_stages_are_followed_up_and_down(lab) -> None:
    lab.apply(lab.manifest("stages"))
    lab.wait_phase("stages", "Running")
    status = lab.wait_finished("stages")

    assert status["verdict"] == "Passed", status
    # Whole users: 0 to 20 in 2 s, 3 s at 20, down to 5 in 2 s, then 12 for 2 s: 19 + 60 + 24 + 24 user-seconds
    assert status["load"]["planned"] == 127
    assert status["results"]["requests"] == lab.count()


@promise("run-scenarios", "exact-totals")
def test_scenarios_follow_and_accompany_each_other(lab) -> None:
    lab.apply(lab.manifest("scenarios"))
    status = lab.wait_finished("scenarios")

    assert status["verdict"] == "Passed", status
    by_name = {each["name"]: each for each in status["load"]["scenarios"]}
    assert [by_name[name]["achieved"] for name in ("fill-cache", "once-each")] == [60, 15]
    assert sum(each["requests"] for each in by_name.values()) == status["results"]["requests"] == lab.count()


@promise("live-load", "exact-totals")
def test_a_rate_is_changed_paused_and_resumed_in_mid_run_and_all_of_it_is_accounted_for(lab) -> None:
    lab.apply(lab.manifest("rate", load={"target": "http://shop", "rate": 50, "duration": "8s"}, thresholds=[]))
    lab.wait_phase("rate", "Running")
    lab.wait_requests("rate", 20)
    lab.patch("rate", {"load": {"rate": 100}})
    lab.wait_requests("rate", 200)
    lab.patch("rate", {"load": {"paused": True}})
    lab.wait_phase("rate", "Paused")
    time.sleep(1)
    before = lab.count()
    time.sleep(2)
    assert lab.count() == before
    lab.patch("rate", {"load": {"paused": False}})
    lab.wait_phase("rate", "Running")
    status = lab.wait_finished("rate")

    assert status["verdict"] == "Passed", status
    assert 400 < status["load"]["planned"] < 800
    assert status["load"]["achieved"] >= status["load"]["planned"] * 0.99
    assert status["results"]["requests"] == lab.count()
    assert 45_000 < status["results"]["rpsAvgMilli"] < 110_000


EACH_USER_IS_SEEN = """
from loadstone import User, constant, task

class Visitor(User):
    wait = constant(0.05)

    @task
    def look(self):
        self.http.get(f"/products/{self.number + 1}", name="product")
"""


def users_seen(lab: Lab) -> int:
    """Return how many users the target hears in a second; each asks for a product of its own."""
    before = lab.target("/count")["by_path"]
    time.sleep(1)
    return sum(count > before.get(path, 0) for path, count in lab.target("/count")["by_path"].items())


@promise("live-load", "exact-totals", "report")
def test_users_come_and_go_in_mid_run_as_the_spec_is_edited_and_all_of_it_is_accounted_for(lab) -> None:
    document = lab.manifest("pass", load__users=4, load__duration="20s", thresholds=[])
    document["spec"]["source"]["inline"]["content"] = EACH_USER_IS_SEEN
    lab.apply(document)
    lab.wait_phase("pass", "Running")

    def follow(users: int) -> None:
        until(f"{users} users at the target", lambda: users_seen(lab) == users, seconds=15)
        until(f"{users} users in the status", lambda: lab.status("pass")["progress"]["users"] == users, seconds=15)

    follow(4)
    assert len(lab.target("/count")["by_path"]) == 4
    lab.patch("pass", {"load": {"users": 12}})
    follow(12)
    document["spec"]["load"]["users"] = 3
    lab.apply(document)
    follow(3)
    status = lab.wait_finished("pass")

    assert status["verdict"] == "Passed", status
    results, load = status["results"], status["load"]
    assert results["requests"] == results["started"] == lab.count()
    assert results["failures"] == results["unaccounted"] == 0
    assert 3 * 20 < load["planned"] < 12 * 20, load
    assert load["planned"] * 0.99 <= load["achieved"] <= load["planned"], load
    # Nobody came for somebody who was there.
    assert len(lab.target("/count")["by_path"]) == 12
    users = column(read_report(lab, status), "users")
    risen, falls = users.index(12), len(users) - users[::-1].index(12)
    assert max(users) == 12, users
    assert 4 in users[:risen], users
    assert 3 in users[falls:], users


@promise("live-load", "exact-totals")
def test_a_shape_in_the_script_leads_the_load_and_ends_it(lab) -> None:
    lab.apply(lab.manifest("shape"))
    status = lab.wait_finished("shape")

    assert status["verdict"] == "Passed", status
    assert 25 <= status["load"]["planned"] <= 48
    assert status["load"]["achieved"] >= status["load"]["planned"] * 0.99
    assert "allows 8" in "".join(status["load"]["remarks"])
    assert status["progress"]["users"] == 8
    assert {entry["name"] for entry in status["results"]["endpoints"]} == {"front page"}
    assert status["results"]["requests"] == lab.count()


@promise("live-load", "exact-totals")
def test_values_of_the_script_change_in_mid_run_and_what_waits_for_the_next_run_is_said(lab) -> None:
    load = {"target": "http://shop", "users": 4, "duration": "5m"}
    lab.apply(lab.manifest("shape", load=load, thresholds=[]))
    lab.wait_phase("shape", "Running")
    lab.wait_requests("shape", 20)
    first = lab.status("shape")["run"]["configRevision"]
    lab.patch("shape", {"config": {"page": "after"}, "load": {"duration": "6m"}})

    def said() -> dict | None:
        status = lab.status("shape")
        return status if status["run"]["configRevision"] > first and "next run" in status.get("message", "") else None

    edited = until("the edit is in the status", said)
    [condition] = [each for each in edited["conditions"] if each["type"] == "EditsInEffect"]
    assert (condition["status"], condition["reason"]) == ("False", "NextRun")
    assert "spec.load.duration counts from the next run on" in condition["message"]
    lab.wait_requests("shape", lab.count() + 20)
    lab.patch("shape", {"stopRun": 1})
    status = lab.wait_finished("shape")

    assert {entry["name"] for entry in status["results"]["endpoints"]} >= {"front page", "after"}
    assert "the script has a shape" in "".join(status["load"]["remarks"])
    assert "EditsInEffect" not in {each["type"] for each in status["conditions"]}
    assert status["results"]["requests"] == lab.count()


@promise("run-iterations", "exact-totals")
def test_iterations_are_done_exactly_over_three_workers(lab) -> None:
    lab.apply(lab.manifest("iterations"))
    status = lab.wait_finished("iterations")

    assert status["verdict"] == "Passed", status
    assert status["results"]["iterations"] == 1000
    assert status["results"]["requests"] == lab.count() == 2000


@promise("stop-keeps-results", "exact-totals")
def test_a_stop_in_mid_run_keeps_its_results(lab) -> None:
    lab.apply(lab.manifest("pass", load__duration="5m"))
    lab.wait_phase("pass", "Running")
    lab.wait_requests("pass", 50)
    stopped_at = time.monotonic()
    lab.patch("pass", {"stopRun": 1})
    silent = lab.seconds_to_silence(stopped_at)
    status = lab.wait_finished("pass")
    print(f"stopped_last_request {silent:.1f} s")

    # New iterations end within 5 s, and one of these takes milliseconds. The rest is for a busy machine.
    assert silent < 5 + 5
    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Aborted", "Stopped", 130), status
    assert status["results"]["requests"] == lab.count() >= 50


@promise("trigger", "history", "edit-starts-nothing")
def test_only_a_trigger_runs_a_finished_test_again(lab) -> None:
    document = lab.manifest("pass", load__duration="2s")
    lab.apply(document)
    first = lab.wait_finished("pass")
    lab.apply(document)
    lab.patch("pass", {"load": {"users": 10}})
    counted = lab.count()
    assert lab.status("pass")["run"]["number"] == 1
    lab.reset_target()

    lab.patch("pass", {"trigger": "second"})
    lab.kubectl("wait", "loadtest/pass", "--for=jsonpath={.status.lastHandledTrigger}=second", "--timeout=20s")
    status = lab.wait_finished("pass")

    assert counted == first["results"]["requests"]
    assert status["run"]["number"] == 2
    assert status["run"]["cause"] == "Trigger"
    assert [entry["run"] for entry in status["history"]] in ([1, 2], [2, 1])
    assert status["results"]["requests"] == lab.count()


@promise("suspend")
def test_a_suspended_test_makes_no_pods_until_it_is_resumed(lab) -> None:
    lab.apply(lab.manifest("pass", suspend=True, load__duration="2s"))
    lab.wait_phase("pass", "Suspended")
    assert lab.pods("pass") == []

    lab.patch("pass", {"suspend": False})
    status = lab.wait_finished("pass")

    assert status["verdict"] == "Passed", status
    assert status["results"]["requests"] == lab.count()


@promise("source-configmap")
def test_a_script_in_a_configmap_runs_with_its_second_file(lab) -> None:
    lab.kubectl(
        "create",
        "configmap",
        "scripts",
        "--from-literal=shop.py=from pages import FRONT\nfrom loadstone import User, task\n\n\nclass Visitor(User):\n"
        "    @task\n    def front(self):\n        self.http.get(FRONT)\n",
        "--from-literal=pages.py=FRONT = '/'\n",
    )
    document = lab.manifest("iterations", load__iterations=30, load__users=3)
    document["spec"]["source"] = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
    document["spec"]["thresholds"] = []
    lab.apply(document)
    status = lab.wait_finished("iterations")

    assert status["verdict"] == "Passed", status
    assert status["results"]["requests"] == lab.count() == 30


@promise("source-inline-files", "env")
def test_an_inline_script_sees_its_files_and_environment(lab) -> None:
    document = lab.manifest("iterations", load__iterations=12, load__users=3)
    document["spec"]["thresholds"] = []
    document["spec"]["source"] = {
        "inline": {
            "content": "import os\nfrom lib.paths import PATHS\nfrom loadstone import User, task\n\n\n"
            "class Visitor(User):\n"
            "    @task\n    def front(self):\n        self.http.get(PATHS[os.environ['PAGE']])\n",
            "files": {"lib/paths.py": "PATHS = {'front': '/', 'none': '/status/404'}\n", "lib/__init__.py": ""},
        }
    }
    document["spec"]["env"] = [{"name": "PAGE", "value": "front"}]
    lab.apply(document)
    status = lab.wait_finished("iterations")

    assert status["verdict"] == "Passed", status
    assert status["results"]["failures"] == 0
    assert status["results"]["requests"] == lab.count() == 12


@promise("wait")
@pytest.mark.parametrize("name", ["pass", "threshold"])
def test_kubectl_wait_for_finished_returns_whatever_the_verdict(lab, name) -> None:
    lab.apply(lab.manifest(name, load__duration="2s"))
    lab.kubectl("wait", f"loadtest/{name}", "--for=jsonpath={.status.finished}=true", "--timeout=60s")

    code = lab.kubectl("get", "loadtest", name, "-o", "jsonpath={.status.exitCode}").stdout
    assert code == {"pass": "0", "threshold": "99"}[name]

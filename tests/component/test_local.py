"""`loadstone run` on this machine: the manifests of the cluster tests, each exact against a target of its own."""

import contextlib
import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.component.ports import free_port

from loadstone_runner.flavour import expected_flavour
from loadstone_runner.transport.http.description import ROW

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "tests" / "e2e" / "manifests"
PAGE_BYTES = 4096
promise = pytest.mark.promise
SHAPE = """import os
from loadstone import Shape, User, constant, tag, task

class Visitor(User):
    wait = constant(0.1)

    @tag("a")
    @task
    def front_page(self):
        self.http.get("/")

class Stairs(Shape):
    def tick(self):
        if self.get_run_time() > 2:
            {}
        return (2, 2)
"""


def fetch(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.load(reply)


@pytest.fixture
def target():
    """Start examples/target/server.py on a free port; give its address."""
    port = free_port()
    server = subprocess.Popen([sys.executable, str(ROOT / "examples" / "target" / "server.py"), "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            fetch(f"{url}/count")
            break
        except OSError:
            time.sleep(0.05)
    yield url
    server.terminate()
    server.wait()


def command(manifest: Path, target: str, folder: Path, *settings: str) -> list[str]:
    setting = [part for text in (f"load.target={target}", *settings) for part in ("--set", text)]
    status = ["--status", str(folder / "status.json"), "--results", str(folder / "results")]
    return [sys.executable, "-m", "loadstone_cli", "run", str(manifest), "--quiet", *setting, *status]


def run_local(manifest: str, target: str, folder: Path, *settings: str) -> tuple[int, dict, str]:
    done = subprocess.run(
        command(MANIFESTS / f"{manifest}.yaml", target, folder, *settings),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (folder / "status.json").exists(), done.stderr
    return done.returncode, json.loads((folder / "status.json").read_text()), done.stdout


@promise("local-same", "exact-totals")
@pytest.mark.parametrize(
    ("manifest", "verdict", "code"),
    [
        ("pass", "Passed", 0),
        ("threshold", "Failed", 99),
        ("rate", "Passed", 0),
        ("stages", "Passed", 0),
        ("iterations", "Passed", 0),
    ],
)
def test_a_manifest_of_the_cluster_tests_has_its_verdict_here_too(target, tmp_path, manifest, verdict, code) -> None:
    returned, status, printed = run_local(manifest, target, tmp_path)

    assert (returned, status["verdict"], status["exitCode"]) == (code, verdict, code), status
    results = status["results"]
    assert results["requests"] == results["started"] == fetch(f"{target}/count")["requests"]
    assert results["unaccounted"] == results["unsent"] == results["ambiguous"] == 0
    assert verdict in printed
    assert len(list((tmp_path / "results").glob("*.json.gz"))) == 1


@promise("progress-jsonl", "exact-totals")
def test_programs_read_each_second_and_the_outcome_from_a_clean_standard_output(target, tmp_path) -> None:
    manifest = MANIFESTS / "pass.yaml"
    done = subprocess.run(
        [*command(manifest, target, tmp_path, "load.duration=3s"), "--progress", "jsonl"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    *rows, outcome = [json.loads(line) for line in done.stdout.splitlines()]

    assert [(row["kind"], row["tier"], row["second"], row["seconds"]) for row in rows] == [
        ("row", "1s", second, 1) for second in range(len(rows))
    ]
    assert all(not list(Draft202012Validator(ROW).iter_errors(row)) for row in rows)
    assert len(rows) >= 3
    assert (
        sum(row["requests"] for row in rows) == outcome["results"]["requests"] == fetch(f"{target}/count")["requests"]
    )
    # The second that the load ends with is whole, too: users, requests and all.
    if outcome["verdict"] == "Passed":
        assert [(row["gaps"], row["users"]) for row in rows][2] == (0, 20)
        assert not any(row["gaps"] for row in rows)
    assert (outcome["kind"], outcome["exitCode"]) == ("outcome", done.returncode)
    status = json.loads((tmp_path / "status.json").read_text())
    assert outcome == {"kind": "outcome", **status, "report": outcome["report"], "log": outcome["log"]}
    assert Path(outcome["report"]).exists()
    assert Path(outcome["log"]).exists()
    assert outcome["verdict"] in done.stderr


@promise("progress-jsonl")
def test_programs_read_why_nothing_was_run(tmp_path) -> None:
    manifest = MANIFESTS / "pass.yaml"
    done = subprocess.run(
        [*command(manifest, "http://127.0.0.1:1", tmp_path, "load.duration=soon"), "--progress", "jsonl"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    (outcome,) = [json.loads(line) for line in done.stdout.splitlines()]

    assert (outcome["verdict"], outcome["reason"], outcome["exitCode"]) == ("Error", "SpecInvalid", done.returncode)
    assert "spec.load.duration" in outcome["message"]
    assert outcome["message"] in done.stderr


@promise("progress-jsonl", "stop-keeps-results")
def test_a_reader_of_rows_that_goes_away_disturbs_no_run(target, tmp_path) -> None:
    with subprocess.Popen(
        [*command(MANIFESTS / "pass.yaml", target, tmp_path, "load.duration=4s"), "--progress", "jsonl"],
        stdout=subprocess.PIPE,
    ) as process:
        assert json.loads(process.stdout.readline())["second"] == 0
        process.stdout.close()
        process.wait(60)

    status = json.loads((tmp_path / "status.json").read_text())
    assert process.returncode == status["exitCode"]
    assert status["load"]["achieved"] == status["load"]["planned"]


@promise("progress-jsonl", "exact-totals", "stop-keeps-results")
@pytest.mark.parametrize("reads", [True, False])
def test_a_reader_of_rows_that_stops_holds_up_no_results_and_misses_no_row(target, tmp_path, reads) -> None:
    ours, theirs = os.pipe()
    # What is in it already fills it.
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
    os.write(theirs, b" " * (PAGE_BYTES - 1) + b"\n")
    with (
        os.fdopen(ours, "rb") as lines,
        subprocess.Popen(
            [*command(MANIFESTS / "pass.yaml", target, tmp_path, "load.duration=3s"), "--progress", "jsonl"],
            stdout=theirs,
        ) as process,
    ):
        os.close(theirs)
        status, deadline = tmp_path / "status.json", time.monotonic() + 60
        while not (status.exists() and status.read_text().endswith("}\n")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while not reads and process.poll() is None:
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGINT)
            # One that comes while Python is torn down would make another code of it.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        printed = [json.loads(line) for line in lines.read().splitlines() if line.strip()]

    assert process.wait(60) == json.loads(status.read_text())["exitCode"]
    if not reads:
        return
    *rows, outcome = printed
    assert outcome["kind"] == "outcome"
    assert [row["second"] for row in rows] == list(range(len(rows)))
    assert len(rows) >= 3
    assert sum(row["requests"] for row in rows) == outcome["results"]["requests"]


@promise("run-scenarios", "exact-totals")
def test_scenarios_follow_and_accompany_each_other_and_each_does_what_was_asked(target, tmp_path) -> None:
    returned, status, printed = run_local("scenarios", target, tmp_path)

    assert (returned, status["verdict"]) == (0, "Passed"), status
    by_name = {each["name"]: each for each in status["load"]["scenarios"]}
    assert {name: (each["model"], each["planned"]) for name, each in by_name.items()} == {
        "fill-cache": ("iterations", 60),
        "browse": ("users", 30),
        "checkout": ("rate", 80),
        "once-each": ("iterations", 15),
    }
    assert by_name["fill-cache"]["achieved"] == by_name["fill-cache"]["requests"] == 60
    assert by_name["once-each"]["achieved"] == by_name["once-each"]["requests"] == 15
    assert by_name["browse"]["users"] == 6
    assert status["load"]["model"] == "mixed"
    assert sum(each["requests"] for each in by_name.values()) == status["results"]["requests"]
    assert status["results"]["requests"] == status["results"]["started"] == fetch(f"{target}/count")["requests"]
    assert all(name in printed for name in by_name)


@promise("exact-totals")
def test_a_shape_in_the_script_leads_the_load_and_ends_it(target, tmp_path) -> None:
    returned, status, printed = run_local("shape", target, tmp_path)

    assert (returned, status["verdict"]) == (0, "Passed"), status
    load, results = status["load"], status["results"]
    # Nearly 3 s of 4 users and 3 s of 8, with the seconds in which the others come; the shape is asked once a second.
    assert 25 <= load["planned"] <= 48
    assert load["achieved"] >= 0.99 * load["planned"]
    assert "asked for 12 users, and load.shape.maxUsers allows 8" in "".join(load["remarks"])
    assert "closed model" in printed
    assert [each["name"] for each in results["endpoints"]] == ["front page"]
    assert set(fetch(f"{target}/count")["by_path"]) == {"/"}
    assert results["requests"] == results["started"] == fetch(f"{target}/count")["requests"] > 100
    report = json.loads(gzip.decompress(next((tmp_path / "results").glob("*.gz")).read_bytes()))
    assert {each["metric"] for each in report["series"]}.isdisjoint({"first_byte", "body"})
    assert max(row[report["timeline"]["fields"].index("users")] for row in report["timeline"]["rows"]) == 8
    assert {each["flavour"] for each in report["workers"]} == {expected_flavour()}


@promise("exact-totals")
@pytest.mark.parametrize(
    ("setting", "reason", "words"),
    [
        ("source.inline.content=" + json.dumps(SHAPE.format("return 5")), "HandlerFailed", "it returned 5"),
        ("source.inline.content=" + json.dumps(SHAPE.format("os._exit(3)")), "DirectorLost", "the shape of the load"),
        (
            "source.inline.content=" + json.dumps(SHAPE.split("class S", maxsplit=1)[0]),
            "ScriptInvalid",
            "Shape as its base",
        ),
        ("load.tags=[writes]", "ScriptInvalid", "there are read"),
    ],
)
def test_a_load_that_cannot_be_led_ends_as_an_error(target, tmp_path, setting, reason, words) -> None:
    returned, status, _ = run_local(
        "shape", target, tmp_path, *((setting,) if "tags" in setting else (setting, "load.tags=[a]"))
    )

    assert (returned, status["verdict"], status["reason"]) == (1, "Error", reason), status
    assert words in status["message"]


@promise("warm-up", "exact-totals")
def test_what_is_measured_in_a_warm_up_is_in_no_result_and_counted_apart(target, tmp_path) -> None:
    returned, status, _ = run_local("rate", target, tmp_path, "load.rate=100", "load.duration=4s", "load.warmUp=1500ms")

    # One of the manifest's thresholds asks for more than this rate.
    assert (returned, status["reason"]) == (99, "ThresholdsFailed"), status
    results, load = status["results"], status["load"]
    # What is due at the end of the warm-up belongs to it or to the results, by the moment at which it really began.
    assert (load["planned"], load["achieved"]) == (250, pytest.approx(250, abs=3))
    assert results["outside"]["warmUp"] == pytest.approx(150, abs=20)
    assert results["requests"] + results["outside"]["warmUp"] == fetch(f"{target}/count")["requests"] == 400
    assert results["requests"] == results["started"] == sum(each["requests"] for each in results["endpoints"])
    assert results["unaccounted"] == 0
    assert 95_000 < results["rpsAvgMilli"] < 105_000


@promise("local-interrupt", "stop-keeps-results")
def test_an_interrupt_keeps_the_results_and_exits_with_130(target, tmp_path) -> None:
    process = subprocess.Popen(
        command(MANIFESTS / "pass.yaml", target, tmp_path, "load.duration=5m"), stdout=subprocess.PIPE, text=True
    )
    while fetch(f"{target}/count")["requests"] < 30:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    status = json.loads((tmp_path / "status.json").read_text())
    assert (process.returncode, status["verdict"], status["reason"]) == (130, "Aborted", "Stopped")
    assert status["results"]["requests"] == fetch(f"{target}/count")["requests"]


@promise("local-same")
def test_no_process_outlives_a_killed_command(target, tmp_path) -> None:
    process = subprocess.Popen(
        [*command(MANIFESTS / "pass.yaml", target, tmp_path, "load.duration=5m")],
        env={**os.environ, "LOADSTONE_TEST_MARK": str(tmp_path)},
    )
    while fetch(f"{target}/count")["requests"] < 30:
        time.sleep(0.05)
    process.kill()
    process.wait()

    deadline = time.monotonic() + 15
    while living := processes_with(f"LOADSTONE_TEST_MARK={tmp_path}"):
        assert time.monotonic() < deadline, living
        time.sleep(0.1)


def processes_with(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@promise("kill-bounds")
def test_the_counts_hold_their_bounds_after_the_kill_of_an_engine(target, tmp_path) -> None:
    script = (
        "import os, signal, time\nfrom loadstone import User, task\nSTARTED = []\n\n\nclass Visitor(User):\n"
        "    @task\n    def front(self):\n        STARTED.append(time.monotonic())\n        self.http.get('/')\n"
        "        if time.monotonic() - STARTED[0] > 3:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    _, status, _ = run_local(
        "pass", target, tmp_path, f"source.inline.content={json.dumps(script)}", "load.duration=6s"
    )

    results, counted = status["results"], fetch(f"{target}/count")["requests"]
    assert status["verdict"] == "Error", status
    assert (
        results["requests"] - results["unsent"] - results["ambiguous"]
        <= counted
        <= results["started"] - results["unsent"]
    )


@promise("validate", "script-errors")
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("load.durration=3s", ["spec.load.durration", "duration"]),
        ("load.duration=5 days", ["spec.load.duration", "30s"]),
        ("thresholds[0].expr='latency:p95 < 300'", ["spec.thresholds[0].expr", "ms"]),
        ("source.inline.content='class Broken(:'", ["SyntaxError"]),
        ("source.inline.content='import no_such_library'", ["no_such_library"]),
        ("load.tags=[smoke]", ["the tag smoke", "no task has any"]),
        ("load={shape: {maxUsers: 5}, duration: 1m}", ["Shape as its base"]),
    ],
)
def test_validate_says_what_is_wrong_before_anything_starts(setting, words) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadstone_cli", "validate", str(MANIFESTS / "pass.yaml"), "--set", setting],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1, done.stdout
    assert all(word in done.stderr for word in words), done.stderr

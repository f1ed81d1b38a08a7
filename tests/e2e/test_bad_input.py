"""Bad input gets a clear answer: at apply where the schema can see it, in the status within seconds where it cannot."""

import os
from pathlib import Path

import pytest
import yaml
from lab import Lab, kubectl, until

promise = pytest.mark.promise
pytestmark = pytest.mark.telling
SAMPLES = Path(__file__).parents[1] / "contract" / "samples"


def invalid_samples():
    for text in (SAMPLES / "invalid.yaml").read_text().split("\n---\n"):
        first = next(line for line in text.splitlines() if line.startswith("# expect: "))
        document = yaml.safe_load(text)
        yield pytest.param(text, first.removeprefix("# expect: "), id=document["metadata"]["name"][:40])


@pytest.fixture(scope="module")
def nowhere():
    """A namespace for objects that are refused, or never start."""
    name = f"e2e-refused-{os.getpid()}"
    kubectl("create", "namespace", name)
    yield Lab(name)
    kubectl("delete", "namespace", name, "--wait=false")


@promise("refused-at-apply")
@pytest.mark.parametrize(("text", "expected"), list(invalid_samples()))
def test_an_invalid_loadtest_is_refused_with_a_sentence(nowhere, text, expected) -> None:
    done = nowhere.apply(text, check=False)

    assert done.returncode != 0
    assert expected in " ".join(done.stderr.split()), done.stderr


@promise("refused-at-apply")
def test_a_script_over_64_kib_is_refused_with_a_sentence(nowhere) -> None:
    done = nowhere.apply(nowhere.manifest("pass", source__inline__content="#" * 65537), check=False)

    assert done.returncode != 0
    assert "64 KiB" in done.stderr or "65536" in done.stderr, done.stderr


@promise("refused-at-apply")
def test_values_of_a_script_over_16_kib_are_refused_with_a_sentence(nowhere) -> None:
    document = nowhere.manifest("pass", config={f"value-{number}": "x" * 4_000 for number in range(5)})
    refused = nowhere.apply(document, check=False)

    assert refused.returncode != 0
    assert "names and values together must be at most 16 KiB" in refused.stderr


@promise("accepted-at-apply")
def test_every_valid_sample_is_accepted(nowhere) -> None:
    done = nowhere.kubectl("apply", "--dry-run=server", "-f", str(SAMPLES / "valid.yaml"))

    assert done.stdout.count("created (server dry run)") == done.stdout.count("\n") > 5


def error_of(lab, document, *, seconds: float = 15.0):
    lab.apply(document)
    return lab.wait_finished(document["metadata"]["name"], seconds=seconds)


def with_script(lab, script: str):
    return lab.manifest("pass", source__inline__content=script)


@promise("script-errors")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("from loadstone import User\nclass Broken(User:\n", ["test.py", "line 2"], id="syntax"),
        pytest.param("import no_such_library\n", ["no_such_library", "ModuleNotFoundError"], id="import"),
        pytest.param("from loadstone import User, task\n", ["User"], id="no-user-class"),
        pytest.param(
            "raise RuntimeError('the database of names is down')\n", ["the database of names is down"], id="raises"
        ),
    ],
)
def test_a_broken_script_is_told_with_its_last_lines(lab, script, words) -> None:
    status = error_of(lab, with_script(lab, script))

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Error", "ScriptInvalid", 1), status
    assert all(word in status["message"] for word in words), status["message"]


@promise("source-missing")
def test_a_missing_configmap_is_named(lab) -> None:
    document = lab.manifest("pass")
    document["spec"]["source"] = {"configMap": {"name": "not-there"}}
    status = error_of(lab, document)

    assert (status["verdict"], status["reason"]) == ("Error", "SourceNotFound"), status
    assert "not-there" in status["message"]


@promise("source-missing")
def test_a_missing_key_of_a_configmap_is_named(lab) -> None:
    lab.kubectl("create", "configmap", "scripts", "--from-literal=other.py=pass")
    document = lab.manifest("pass")
    document["spec"]["source"] = {"configMap": {"name": "scripts"}, "entrypoint": "shop.py"}
    status = error_of(lab, document)

    assert (status["verdict"], status["reason"]) == ("Error", "SourceNotFound"), status
    assert "shop.py" in status["message"]
    assert "scripts" in status["message"]


@promise("image-pull")
def test_an_image_that_cannot_be_pulled_is_named(lab) -> None:
    status = error_of(lab, lab.manifest("pass", image="localhost/no-such-image:1", imagePullPolicy="Never"))

    assert (status["verdict"], status["reason"]) == ("Error", "ImagePull"), status
    assert "localhost/no-such-image:1" in status["message"]


@promise("unschedulable")
def test_unschedulable_workers_are_told_and_end_at_the_startup_timeout(lab) -> None:
    document = lab.manifest("pass", startupTimeout="20s", workers__template={"resources": {"requests": {"cpu": "100"}}})
    lab.apply(document)
    until(
        "the status names the reason",
        lambda: any(p["reason"] == "Unschedulable" for p in lab.status("pass").get("workers", {}).get("problems", [])),
        seconds=15,
    )
    status = lab.wait_finished("pass", seconds=45)
    assert (status["verdict"], status["reason"]) == ("Error", "Unschedulable"), status
    assert "cpu" in status["message"]


@promise("quota")
def test_an_exceeded_quota_is_told(lab) -> None:
    lab.kubectl("create", "quota", "small", "--hard=pods=2")
    status = error_of(lab, lab.manifest("pass", startupTimeout="10s"), seconds=45)

    assert (status["verdict"], status["reason"]) == ("Error", "QuotaExceeded"), status
    assert "small" in status["message"]


@promise("worker-oom")
def test_a_worker_that_runs_out_of_memory_is_told(lab) -> None:
    script = (
        "from loadstone import User, constant, task\nHELD = []\n\n\nclass Hungry(User):\n    wait = constant(0.01)\n\n"
        "    @task\n    def eat(self):\n        self.http.get('/')\n        HELD.append(bytearray(2_000_000))\n"
    )
    document = with_script(lab, script)
    document["spec"]["load"]["duration"] = "60s"
    document["spec"]["workers"]["template"] = {"resources": {"limits": {"memory": "128Mi"}}}
    status = error_of(lab, document, seconds=60)

    assert (status["verdict"], status["reason"]) == ("Error", "WorkerOOM"), status
    assert "memory" in status["message"]
    # What the kernel has killed had its counts in a file.
    lab.check_exact(status)


@promise("template-invalid")
def test_an_invalid_pod_template_is_told(lab) -> None:
    document = lab.manifest("pass", workers__template={"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})
    status = error_of(lab, document)

    assert (status["verdict"], status["reason"]) == ("Error", "TemplateInvalid"), status
    assert "cpu" in status["message"]


@promise("source-missing", "script-setup")
def test_what_setup_has_made_is_undone_though_a_worker_cannot_start(lab) -> None:
    lab.kubectl("create", "secret", "generic", "keys", "--from-literal=token=abc")
    script = (
        "import time\nfrom loadstone import User, setup, task, teardown\n\n\n"
        "@setup\ndef make(run):\n    run.http.get('/made')\n    time.sleep(6)\n\n\n"
        "@teardown\ndef undo(run):\n    run.http.get('/undone')\n\n\n"
        "class Visitor(User):\n    @task\n    def visit(self):\n        self.http.get('/')\n"
    )
    document = with_script(lab, script)
    document["spec"]["env"] = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]
    lab.apply(document)
    until("setup has begun", lambda: lab.count() == 1, seconds=60)
    lab.kubectl("delete", "secret", "keys")
    lab.kubectl("delete", "pod", "pass-w-1-1-1", "--now", "--wait=false")
    status = lab.wait_finished("pass", seconds=60)

    assert (status["verdict"], status["reason"]) == ("Error", "SourceNotFound"), status
    assert "keys" in status["message"]
    assert lab.target("/count")["by_path"] == {"/made": 1, "/undone": 1}, status


@promise("target-refuses")
def test_a_target_that_refuses_connections_fails_by_threshold(lab) -> None:
    status = error_of(lab, lab.manifest("pass", load__target="http://shop:81", load__duration="3s"), seconds=60)

    assert (status["verdict"], status["reason"], status["exitCode"]) == ("Failed", "ThresholdsFailed", 99), status
    results = status["results"]
    assert results["failures"] == results["requests"] == results["unsent"] > 0
    assert results["topErrors"]

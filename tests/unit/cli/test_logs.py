"""`loadstone logs` of runs on this machine, and what it says where there is nothing to show."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from typing import TYPE_CHECKING

import pytest

from loadstone_cli.logs import newest_local, show_logs

if TYPE_CHECKING:
    from pathlib import Path

KUBECTL = """#!{python}
import json, sys
words = [each for each in sys.argv[1:] if not each.startswith("--")]
answers = json.load(open({answers!r}))
if words[0] == "exec":
    print("exec", *words[1:])
    sys.exit(0)
what = words[1]
if what not in answers:
    sys.exit("a try has failed\\nError from server (NotFound): not found")
print(json.dumps(answers[what]))
"""


def local(folder: Path, name: str, text: str) -> None:
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / name).write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a kubectl into the path that answers from a table."""
    answers: dict[str, object] = {}
    binary = tmp_path / "bin" / "kubectl"
    binary.parent.mkdir()
    file = tmp_path / "answers.json"
    binary.write_text(KUBECTL.format(python=sys.executable, answers=str(file)))
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent))

    def answer(**objects: object) -> None:
        answers.update(objects)
        file.write_text(json.dumps({key.replace("_", "."): value for key, value in answers.items()}))

    answer()
    return answer


def show(folder: Path, name: str = "shop", **options: object) -> int:
    defaults: dict[str, object] = {"tail": None, "follow": False, "kubectl": (), "in_cluster": False}
    return show_logs(name, results=folder, **{**defaults, **options})  # type: ignore[arg-type]


def test_the_newest_run_on_this_machine_is_shown(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    local(tmp_path, "shop-20260101T000000Z.log.gz", "old\n")
    local(tmp_path, "shop-20260102T000000Z.log.gz", "one\nt\rtwo\n")
    local(tmp_path, "shop-2-20260103T000000Z.log.gz", "of another\n")

    assert show(tmp_path) == 0
    assert show(tmp_path, tail=1, follow=True) == 0
    said = capfdbinary.readouterr()
    assert said.out == b"one\nt\rtwo\nt\rtwo\n"
    assert b"has ended" in said.err
    assert newest_local(tmp_path, "none") is None


def test_of_runs_that_ended_in_the_same_second_the_newest_has_the_highest_number(tmp_path: Path) -> None:
    stems = ("shop-20260102T000000Z", "shop-20260102T000000Z-2", "shop-20260102T000000Z-10", "shop-20260101T000000Z-11")
    for stem in stems:
        local(tmp_path, f"{stem}.log.gz", stem)

    assert newest_local(tmp_path, "shop") == tmp_path / "logs" / f"{stems[2]}.log.gz"


def test_without_a_run_or_a_cluster_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")

    assert show(tmp_path) == 1
    assert capsys.readouterr().err == (
        f"loadstone: there is no kubectl to ask a cluster; nor is there a run of shop in {tmp_path}\n"
    )


LOADTEST = "loadtests_loadstone_dev"


def test_a_run_that_goes_on_is_read_beside_its_master(
    tmp_path: Path, cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    test = {"metadata": {"uid": "u"}, "status": {"run": {"number": 3}}}
    cluster(**{LOADTEST: test, "pods": {"items": []}})
    assert show(tmp_path) == 1
    pods = [{"metadata": {"name": f"m-{n}", "creationTimestamp": f"2026-01-0{n}"}} for n in (1, 3, 2)]
    cluster(pods={"items": pods})

    assert show(tmp_path, tail=5, follow=True, in_cluster=True, kubectl=("--namespace=shop",)) == 0
    said = capfd.readouterr()
    assert "not there yet" in said.err
    assert "exec m-3 -c master env LOADSTONE_FOLLOW=1 LOADSTONE_TAIL=5 python -m loadstone_runner logs" in said.out


def test_of_a_run_that_has_finished_the_report_holds_the_end(
    tmp_path: Path, cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    status = {"run": {"number": 1}, "finished": True}
    cluster(**{LOADTEST: {"metadata": {"uid": "u"}, "status": status}})
    assert show(tmp_path) == 1
    cluster(**{LOADTEST: {"metadata": {"uid": "u"}, "status": {**status, "report": "r"}}, "configmap": {}})
    assert show(tmp_path) == 1
    packed = base64.b64encode(gzip.compress(b"one\ntwo\n")).decode()
    cluster(configmap={"binaryData": {"log.txt.gz": packed}})

    assert show(tmp_path, tail=1) == 0
    said = capfd.readouterr()
    assert said.out == "two\n"
    assert "left no report" in said.err
    assert "holds no log" in said.err


def test_a_test_that_is_not_there_or_has_not_run_is_told(
    tmp_path: Path, cluster, capfd: pytest.CaptureFixture[str]
) -> None:
    assert show(tmp_path) == 1
    cluster(**{LOADTEST: {"metadata": {"uid": "u"}}})
    assert show(tmp_path) == 1

    first, second = capfd.readouterr().err.splitlines()
    assert "NotFound" in first
    assert first.endswith(f"; nor is there a run of shop in {tmp_path}")
    assert "a try has failed" not in first
    assert "has not run yet" in second

"""Files with LoadTests: lines, choices and settings."""

from pathlib import Path

import pytest

from loadstone_cli.documents import choose_loadtest, read_documents, with_settings
from loadstone_core.errors import Problem, SpecInvalidError, UserError

TWO = """\
kind: ConfigMap
metadata: {name: scripts}
---
kind: LoadTest
metadata:
  name: shop
spec:
  load:
    users: 5
    stages:
    - {duration: 1s, users: 1}
    - {duration: 2s, users: 2}
---
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "test.yaml"
    path.write_text(text)
    return path


def test_the_only_loadtest_of_a_file_is_chosen(tmp_path) -> None:
    assert choose_loadtest(read_documents(write(tmp_path, TWO)), None).name == "shop"


def test_a_name_that_is_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match="holds no LoadTest called other"):
        choose_loadtest(read_documents(write(tmp_path, TWO)), "other")


def test_several_loadtests_need_a_name(tmp_path) -> None:
    documents = read_documents(write(tmp_path, f"{TWO}\n{TWO.replace('shop', 'cart')}"))

    with pytest.raises(UserError, match=r"several LoadTests \(shop, cart\): choose one with --name"):
        choose_loadtest(documents, None)


def test_a_file_that_is_no_yaml_is_an_error_with_its_place(tmp_path) -> None:
    with pytest.raises(UserError, match=r"is not valid YAML.*line 1"):
        read_documents(write(tmp_path, "a: [b"))


def test_a_file_in_another_character_set_is_an_error_that_says_so(tmp_path) -> None:
    path = tmp_path / "test.yaml"
    path.write_bytes("# Prüfung\n".encode("latin-1"))

    with pytest.raises(UserError, match=r"test\.yaml is not UTF-8 \(byte 4\); save it as such"):
        read_documents(path)


@pytest.mark.parametrize("value", ["{", "@shop", "a: b: c", "2026-13-45", "!!bool x", "!!timestamp x", "[" * 3000])
def test_a_setting_that_is_no_yaml_is_an_error_that_names_it(tmp_path, value) -> None:
    document = choose_loadtest(read_documents(write(tmp_path, TWO)), None)

    with pytest.raises(SpecInvalidError, match=r"the value of load\.target is not valid YAML, so put it in quotes"):
        with_settings(document, (f"load.target={value}",))


def test_a_date_that_does_not_exist_is_an_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"is not valid YAML: month must be in 1\.\.12"):
        read_documents(write(tmp_path, "a: 2026-13-45"))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec.load.users", 9),
        ("spec.load.stages[1].users", 12),
        ("spec.load.stages[1].rate", 12),  # not there: the line of what holds it
        ("spec.workers.replicas", 7),
        ("metadata.name", 6),
    ],
)
def test_a_problem_is_told_with_its_line(tmp_path, path, line) -> None:
    document = choose_loadtest(read_documents(write(tmp_path, TWO)), None)

    assert document.explain(Problem(path, "is wrong")) == f"{document.file}:{line}: {path}: is wrong"


def test_a_problem_without_a_place_names_the_file(tmp_path) -> None:
    document = choose_loadtest(read_documents(write(tmp_path, TWO)), None)

    assert document.explain(Problem("--set", "is wrong")) == f"{document.file}: --set: is wrong"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("load.users=7", {"users": 7}),
        ("load.duration=30s", {"duration": "30s"}),
        ("load.gracefulStop=", {"gracefulStop": None}),
    ],
)
def test_a_setting_changes_a_field_of_the_spec(tmp_path, setting, expected) -> None:
    document = with_settings(choose_loadtest(read_documents(write(tmp_path, TWO)), None), (setting,))

    assert document.body["spec"]["load"].items() >= expected.items()


def test_a_setting_reaches_into_lists_and_makes_what_is_missing(tmp_path) -> None:
    document = choose_loadtest(read_documents(write(tmp_path, TWO)), None)
    with_settings(document, ("load.stages[1].users=9", "workers.replicas=3"))

    assert document.body["spec"]["load"]["stages"][1]["users"] == 9
    assert document.body["spec"]["workers"] == {"replicas": 3}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("load.users", "has no '='"),
        ("load.stages[7].users=1", "the spec has no place 'load.stages"),
        ("load.users.deeper=1", "the spec has no place 'load.users.deeper'"),
    ],
)
def test_a_setting_that_fits_nowhere_is_a_problem(tmp_path, setting, message) -> None:
    document = choose_loadtest(read_documents(write(tmp_path, TWO)), None)

    with pytest.raises(SpecInvalidError, match=message):
        with_settings(document, (setting,))

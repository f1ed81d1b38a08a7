"""The house is in order: walls, stubs, locks, wheels, and nothing that shadows the standard library."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
promise = pytest.mark.promise


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@promise("no-shadowing")
def test_the_standard_library_operator_is_imported_from_the_root_of_the_repository() -> None:
    done = run(sys.executable, "-c", "import operator, collections; print(operator.add(1, 2))")

    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


@promise("no-shadowing")
def test_no_folder_called_operator_is_a_package() -> None:
    assert [path for path in ROOT.glob("**/operator/__init__.py") if ".venv" not in str(path)] == []


@promise("walls")
def test_rooms_import_only_what_their_walls_allow() -> None:
    done = run(str(Path(sys.executable).with_name("lint-imports")))

    assert done.returncode == 0, done.stdout


@promise("walls")
def test_every_module_and_folder_says_what_belongs_there() -> None:
    done = run(sys.executable, "tools/check_house.py")

    assert done.returncode == 0, done.stdout


@promise("stubs-fresh")
def test_the_committed_stubs_are_what_the_proto_files_generate() -> None:
    done = run(sys.executable, "tools/generate_stubs.py", "--check")

    assert done.returncode == 0, done.stderr


def requirement_names(lines: list[str]) -> set[str]:
    return {re.split(r"[\s<>=;\[!~]", line, maxsplit=1)[0].lower().replace("_", "-") for line in lines}


def locked(name: str) -> set[str]:
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    assert "://" not in text, f"locks/{name}.txt names a host"
    assert "--hash=sha256:" in text
    return requirement_names(re.findall(r"^[A-Za-z0-9][^\s]*==[^\s]+", text, flags=re.MULTILINE))


@promise("locks-current")
def test_the_locks_cover_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    base = requirement_names(project["project"]["dependencies"])
    operator = requirement_names(project["project"]["optional-dependencies"]["operator"])
    dev = requirement_names(project["dependency-groups"]["dev"])

    assert base <= locked("runner")
    assert operator & locked("runner") == set()
    assert operator <= locked("operator")
    assert base | operator | dev <= locked("dev")
    assert requirement_names(project["build-system"]["requires"]) <= locked("build")


@promise("locks-current")
def test_what_is_locked_is_installed_as_it_stands_and_nothing_is_looked_up_beside_it() -> None:
    # A lock is whole. Left to look for dependencies, an old pip takes the newest release of what is asked for with an
    # extra, and refuses it then.
    found = run("git", "grep", "--untracked", "-h", "-e", "--require-hashes", "--", ":!tests/contract").stdout
    calls = [line.strip() for line in found.splitlines()]

    assert len(calls) >= 8
    assert [call for call in calls if "--no-deps" not in call] == []


@promise("locks-current")
def test_what_is_installed_here_fits_together() -> None:
    done = run(sys.executable, "-m", "pip", "check")

    assert done.returncode == 0, done.stdout


@pytest.mark.timeout(600)  # it compiles, behind what needs the processors more
@promise("wheel-complete")
@pytest.mark.parametrize(
    ("context", "packages"),
    [
        (
            None,
            {
                "loadstone",
                "loadstone_cli",
                "loadstone_client",
                "loadstone_core",
                "loadstone_operator",
                "loadstone_protocol",
                "loadstone_runner",
            },
        ),
        (("core", "protocol", "operator"), {"loadstone_core", "loadstone_protocol", "loadstone_operator"}),
    ],
)
def test_a_wheel_holds_the_packages_of_its_build_context(tmp_path, context, packages) -> None:
    source = ROOT
    if context:
        source = tmp_path / "context"
        source.mkdir()
        run("cp", "-r", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", *context, str(source))
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "out"), cwd=source)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == packages
    assert all(f"{package}/py.typed" in names for package in packages)

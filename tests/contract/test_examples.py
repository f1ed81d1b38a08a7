"""Every example is valid, stands in the table of examples/README.md, says how it ends, and is run by the tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import CATALOGUE, ENDS, EXIT_CODES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
HEADER_LINES = range(4, 10)
promise = pytest.mark.promise


@promise("examples", "validate")
def test_validate_accepts_every_example() -> None:
    command = [sys.executable, "-m", "loadstone_cli", "validate", *map(str, FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is valid") == len(FILES) >= 12


@promise("examples")
def test_every_example_is_run_by_the_tests_and_stands_in_the_table() -> None:
    names = {path.name for path in FILES}
    table = set(re.findall(r"`([a-z0-9-]+\.yaml)`", (EXAMPLES / "README.md").read_text()))

    assert {example.file.name for example in CATALOGUE} == names == table
    assert len({example.id for example in CATALOGUE}) == len(CATALOGUE)


@promise("examples")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_head_of_an_example_says_how_it_is_run_what_to_look_at_and_how_it_ends(path) -> None:
    text = path.read_text()
    header = text[: text.index("apiVersion")].splitlines()
    (ends,) = ENDS.findall(text)

    assert all(line.startswith("# ") for line in header)
    assert len(header) in HEADER_LINES
    assert all(any(line.startswith(f"#   {word}:") for line in header) for word in ("here", "cluster", "look at"))
    assert ends in EXIT_CODES
    assert any(f"loadstone run examples/{path.name}" in line for line in header)


@promise("examples")
@pytest.mark.parametrize("path", [EXAMPLES / "checkout.yaml"], ids=lambda path: path.stem)
def test_the_test_in_the_readme_is_an_example(path) -> None:
    text = path.read_text()

    assert text[text.index("apiVersion") :] in (EXAMPLES.parent / "README.md").read_text()

"""What a terminal cannot show changes neither what is done nor the exit code."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import loadstone_cli.run
import loadstone_cli.validate
from loadstone_cli.__main__ import main
from loadstone_cli.outputs import take_any_text

ORDERS = "\u6ce8\u6587"
INCONCLUSIVE = 97


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize(("command", "function"), [("run", "run_file"), ("validate", "validate_files")])
def test_letters_that_the_terminal_lacks_are_shown_as_numbers_and_leave_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, charset: str, command: str, function: str
) -> None:
    def told(*_given: object, **_options: object) -> int:
        print(f"GET {ORDERS}")
        print(ORDERS, file=sys.stderr)
        return INCONCLUSIVE

    (tmp_path / "test.yaml").write_text("")
    monkeypatch.setattr(getattr(loadstone_cli, command), function, told)

    done = CliRunner(charset=charset).invoke(main, [command, str(tmp_path / "test.yaml")])

    assert done.exit_code == INCONCLUSIVE
    shown = ORDERS if charset == "utf-8" else r"\u6ce8\u6587"
    assert done.stdout_bytes.decode(charset) == f"GET {shown}\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_an_output_that_is_closed_from_the_start_leaves_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys, name, None)

    take_any_text()

    stream = getattr(sys, name)
    with stream:
        print(ORDERS, file=stream)
        assert not stream.isatty()

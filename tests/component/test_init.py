"""`loadstone init`: a file to begin with."""

import subprocess
import sys
from pathlib import Path

import pytest


def loadstone(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadstone_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_init_writes_is_valid_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    written = loadstone("init", file, "--name", "shop", "--target", "http://shop.default")

    assert (written.returncode, file.read_text().count("http://shop.default")) == (0, 1), written.stderr
    checked = loadstone("validate", file)
    assert (checked.returncode, checked.stdout) == (0, f"{file}: LoadTest shop is valid\n"), checked.stderr


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("mine")
    refused = loadstone("init", file)

    assert (refused.returncode, file.read_text()) == (1, "mine")
    assert "is there already" in refused.stderr


@pytest.mark.parametrize(
    ("options", "said"), [(("--name", "My.Test"), "metadata.name"), (("--target", "shop"), "spec.load.target")]
)
def test_init_refuses_what_would_not_be_valid(tmp_path: Path, options: tuple[str, str], said: str) -> None:
    file = tmp_path / "shop.yaml"
    refused = loadstone("init", file, *options)

    assert (refused.returncode, file.exists()) == (1, False)
    assert said in refused.stderr

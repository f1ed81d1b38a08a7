"""Where the folder of a local run is, and what is left of one that cannot be filled."""

import asyncio
import errno
from pathlib import Path

import pytest
from tests.component.local_plan import local_plan

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.units import SECOND
from loadstone_runner.local.folders import SHORT, make_folders
from loadstone_runner.local.run import LocalRun


def full(_path: Path, _content: bytes | str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_temporary_directory_that_is_too_deep_for_sockets_is_not_used(monkeypatch, tmp_path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))

    folders = make_folders(files={"test.py": b"pass"}, workers=3)

    try:
        assert folders.root.parent == Path(SHORT)
        assert list(deep.iterdir()) == []
    finally:
        folders.remove()


def test_a_folder_that_cannot_be_filled_is_not_left_behind(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(OSError, match="No space left on device"):
        make_folders(files={"test.py": b"pass"}, workers=1)

    assert list(tmp_path.iterdir()) == []


def test_nor_is_one_that_takes_the_script_and_not_the_plan(monkeypatch, tmp_path) -> None:
    load = LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 1, 1),), SECOND), None)
    scenario = Scenario(name="default", user="Shop", load=load, graceful_stop_ns=SECOND)
    files = {"test.py": b"pass"}
    plan = local_plan("full", files, scenario, workers=1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_text", full)

    with pytest.raises(OSError, match="No space left on device"):
        asyncio.run(LocalRun(plan=plan, files=files, environment={}, on_report=lambda _report: None).run())

    assert list(tmp_path.iterdir()) == []

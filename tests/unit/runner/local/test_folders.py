"""Where the folder of a local run is, and what is left of one that cannot be filled."""

import errno
from pathlib import Path

import pytest

from loadstone_runner.local.folders import SHORT, make_folders


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
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(OSError, match="No space left on device"):
        make_folders(files={"test.py": b"pass"}, workers=1)

    assert list(tmp_path.iterdir()) == []

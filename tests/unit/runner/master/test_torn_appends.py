"""What was called durable is read by every later start, whatever became of an append before or after it."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, Self

import pytest

from loadstone_runner.master.store import Store

promise = pytest.mark.promise
FIRST, SECOND, THIRD = (bytes([number]) * 300 for number in (1, 2, 3))


def tear(folder: Path, record: bytes, kept: int) -> None:
    """Append a record as far as a master has come that is killed meanwhile."""
    other = Store(folder / "other")
    other.append_ended([record])
    with (folder / "ended").open("ab") as file:
        file.write((folder / "other" / "ended").read_bytes()[:kept])


@promise("master-restart", "exact-totals")
@pytest.mark.parametrize("kept", [1, 4, 8, 100, 307])
@pytest.mark.parametrize("torn", [SECOND, b"\xff" * 300])
def test_what_is_kept_behind_a_torn_record_is_read_and_what_was_kept_before_it_stays(
    tmp_path: Path, torn: bytes, kept: int
) -> None:
    Store(tmp_path).append_ended([FIRST])
    tear(tmp_path, torn, kept)
    again = Store(tmp_path)
    assert again.read_ended() == [FIRST]
    again.append_ended([SECOND])
    again.append_ended([b"\xff" * 600])

    assert Store(tmp_path).read_ended() == [FIRST, SECOND, b"\xff" * 600]


@promise("master-restart", "exact-totals")
def test_a_damaged_length_takes_nothing_of_what_lies_before_it(tmp_path: Path) -> None:
    Store(tmp_path).append_lost([FIRST])
    with (tmp_path / "lost").open("ab") as file:
        file.write(b"\xff" * 20)

    assert Store(tmp_path).read_lost() == [FIRST]


@promise("master-restart", "exact-totals")
def test_a_disk_that_was_full_in_the_midst_of_a_record_costs_no_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, really_open = Store(tmp_path), Path.open
    store.append_ended([FIRST])

    class Full:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: bytes) -> None:
            self.file.write(content[:50])
            self.file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, *given: Full(really_open(self, *given)))
    with pytest.raises(OSError, match="space"):
        store.append_ended([SECOND])
    monkeypatch.undo()
    store.append_ended([THIRD])

    assert Store(tmp_path).read_ended() == [FIRST, THIRD]

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadstone_core.errors import InternalError
from loadstone_runner.master.store import Register, Store

if TYPE_CHECKING:
    from pathlib import Path


def test_a_register_is_read_back_and_another_file_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert store.read_register() is None
    register = Register(epoch=1, revision=2, start_at_ns=5)
    store.write_register(register)
    assert store.read_register() == register
    (tmp_path / "state" / "register").write_text('{"epoch": 1}')
    with pytest.raises(InternalError, match="no register"):
        store.read_register()


@pytest.mark.parametrize("cut", [1, 4, 11])
def test_what_a_crash_cut_off_is_not_read_and_everything_before_it_is(tmp_path: Path, cut: int) -> None:
    store = Store(tmp_path)
    assert store.read_ended() == []
    store.append_ended([b"first", b""])
    store.append_ended([b"second"])
    assert store.read_ended() == [b"first", b"", b"second"]
    path = tmp_path / "ended"
    path.write_bytes(path.read_bytes()[:-cut])
    assert store.read_ended() == [b"first", b""]


def test_a_damaged_record_ends_the_reading(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append_ended([b"first", b"second"])
    path = tmp_path / "ended"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.read_ended() == [b"first"]
    path.write_bytes(b"\xff" * 20)
    assert store.read_ended() == []


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_address("127.0.0.1:1")
    store.write_address("127.0.0.1:2")
    store.write_report(b"x")
    assert sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir()) == [
        ("address", b"127.0.0.1:2"),
        ("report.json.gz", b"x"),
    ]

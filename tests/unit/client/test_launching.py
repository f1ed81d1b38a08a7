"""The folder of a local run, and its command line."""

import errno
import gzip
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from loadstone_client.errors import StartFailed
from loadstone_client.launching import SHORT, Place, make_place

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("loadé😀", max_size=20), inner),
)


@given(VALUES)
@example("\x7f")
def test_a_setting_is_read_as_what_it_was(value: object) -> None:
    (told,) = [text for text in Place(Path("x")).command(Path("f"), {"a.b": value}, ()) if text.startswith("a.b=")]

    assert told.isascii()
    assert yaml.safe_load(told.removeprefix("a.b=")) == value


def test_a_folder_is_of_one_run_at_a_time(tmp_path) -> None:
    place = make_place(tmp_path)
    with place.begin() as log:
        log.write(b"armed\n")
        log.flush()
        with pytest.raises(StartFailed, match="another run goes on in"):
            make_place(tmp_path).begin()
        assert place.tail() == "armed"

    make_place(tmp_path).begin().close()

    assert place.log.read_text() == ""


def test_a_folder_that_knows_no_locks_is_taken_without_one(monkeypatch, tmp_path) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)

    with make_place(tmp_path).begin() as log:
        assert log.writable()


def test_a_temporary_directory_that_is_too_deep_for_a_socket_is_not_used(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 100)))

    place = make_place(None)
    place.leave()

    assert place.folder.parent == Path(SHORT)
    assert not place.folder.exists()


def test_what_a_run_before_has_left_is_no_word_of_this_one(tmp_path) -> None:
    report = tmp_path / "results" / "shop-20261130T094645Z.json.gz"
    report.parent.mkdir()
    report.write_bytes(gzip.compress(b'{"of": "before"}'))
    ended = {"verdict": "Passed", "reason": "Passed", "message": "", "exitCode": 0}
    (tmp_path / "status.json").write_text(json.dumps(ended))
    place = make_place(tmp_path)
    place.begin().close()

    with pytest.raises(StartFailed, match="ended without a verdict"):
        place.outcome()
    with pytest.raises(StartFailed, match="left no report"):
        place.report()
    report.with_name("shop-20261130T094700Z.json.gz").write_bytes(gzip.compress(b'{"of": "this"}'))
    assert place.report() == {"of": "this"}

"""What is said between releases is only added to: nothing that a peer may rely on is removed or renumbered."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import record_wire  # noqa: E402 from the folder above

promise = pytest.mark.promise


@promise("releases-talk")
def test_no_field_value_or_call_that_was_recorded_is_removed_renumbered_or_of_another_type() -> None:
    recorded = set(record_wire.RECORD.read_text().splitlines())

    assert len(recorded) > 200
    assert sorted(recorded - set(record_wire.lines())) == []


@promise("releases-talk")
def test_a_record_refuses_to_forget(tmp_path, monkeypatch) -> None:
    record = tmp_path / "wire.txt"
    record.write_text("field Gone 7 name type-9\n")
    monkeypatch.setattr(record_wire, "RECORD", record)

    with pytest.raises(SystemExit, match="field Gone 7 name type-9"):
        record_wire.main()
    record.unlink()
    record_wire.main()
    assert "field Heartbeat 1 number type-4" in record.read_text().splitlines()
    assert "call Control.Watch RowsRequest stream RowsMessage" in record.read_text().splitlines()

from pathlib import Path

import pytest

from loadstone_runner.engine.lease import Lease
from loadstone_runner.launcher.lease import LeaseFile


@pytest.mark.parametrize(("until", "now", "answer"), [(0, 5, False), (6, 5, False), (5, 5, True), (4, 5, True)])
def test_a_lease_is_over_from_its_end_on_and_without_one_nothing_is(tmp_path: Path, until, now, answer) -> None:
    file = LeaseFile(str(tmp_path / "lease"))
    file.write(10**19 - 1)
    file.write(until)

    assert Lease(str(tmp_path / "lease")).is_over(now) is answer


def test_what_cannot_be_read_ends_no_load(tmp_path: Path) -> None:
    (tmp_path / "damaged").write_text("soon")

    assert not Lease(str(tmp_path / "missing")).is_over(5)
    assert not Lease(str(tmp_path / "damaged")).is_over(5)

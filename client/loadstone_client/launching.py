"""Lay out a local run: its folder, its command line, what it leaves behind. Both clients start it, each in its way."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadstone_client.errors import StartFailed
from loadstone_client.values import outcome_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadstone_client.values import Outcome

# The Python that runs this; another environment's keeps engines and their libraries out of the program's own.
COMMAND: Final = (sys.executable, "-m", "loadstone_cli")
TAIL_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one local run: the socket, the log, the status and the report."""

    folder: Path

    @property
    def socket(self) -> Path:
        """Where the run is controlled."""
        return self.folder / "control.sock"

    @property
    def log(self) -> Path:
        """What `loadstone run` printed."""
        return self.folder / "run.log"

    def command(self, file: Path, settings: Mapping[str, object], command: Sequence[str]) -> list[str]:
        """Return the command line of the run of a file."""
        options = [part for path, value in settings.items() for part in ("--set", f"{path}={_yaml(value)}")]
        return [
            *command,
            "run",
            str(file),
            *options,
            "--results",
            str(self.folder / "results"),
            "--status",
            str(self.folder / "status.json"),
            "--control",
            f"unix:{self.socket}",
        ]

    def outcome(self) -> Outcome:
        """Return how the run ended; raise StartFailed if it left no status, with its last lines."""
        status = self.folder / "status.json"
        if not status.exists():
            raise StartFailed(f"loadstone run ended without a verdict: {self.tail()}")
        return outcome_from(json.loads(status.read_text()))

    def report(self) -> dict[str, Any]:
        """Return the report that the run left; raise StartFailed if there is none."""
        reports = sorted((self.folder / "results").glob("*.json.gz"), key=lambda path: path.stat().st_mtime_ns)
        if not reports:
            raise StartFailed(f"loadstone run left no report: {self.tail()}")
        report: dict[str, Any] = json.loads(gzip.decompress(reports[-1].read_bytes()))
        return report

    def tail(self) -> str:
        """Return the last lines that the run printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:]) or "it said nothing"

    def failed(self, file: str | Path, *, is_temporary: bool) -> StartFailed:
        """Return why the run of a file did not come up, and leave nothing behind in a folder that nobody named."""
        error = StartFailed(f"loadstone run of {file} could not be started: {self.tail()}")
        if is_temporary:
            self.remove()
        return error

    def remove(self) -> None:
        """Delete the folder and everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def make_place(folder: str | Path | None) -> Place:
    """Return a run's place: a folder that is there or made, or a temporary one."""
    if folder is None:
        return Place(Path(tempfile.mkdtemp(prefix="loadstone-run-")))
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Place(Path(folder).absolute())


def _yaml(value: object) -> str:
    """Return JSON that is YAML, too: that has no pairs of halves for what lies beyond 16 bits."""
    return json.dumps(value, ensure_ascii=False).encode("ascii", errors="backslashreplace").decode()

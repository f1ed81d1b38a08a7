"""Lay out a local run: its folder, its command line, what it leaves behind. Both clients start it, each in its way."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadstone_client.errors import StartFailed
from loadstone_client.values import outcome_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from loadstone_client.values import Outcome

# The Python that runs this; another environment's keeps engines and their libraries out of the program's own.
COMMAND: Final = (sys.executable, "-m", "loadstone_cli")
TAIL_LINES: Final = 5
SOCKET_PATH_MAX_BYTES: Final = 107  # what the kernel holds
SHORT: Final = "/tmp"  # noqa: S108 the folder in it has a name that nobody guesses


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one local run: the socket, the log, the status and the report.

    Attributes:
        folder: where it is.
        is_temporary: nobody has named it, so nobody looks for it when the run is over.
        earlier: reports that runs before this one have left in it.
    """

    folder: Path
    is_temporary: bool = False
    earlier: frozenset[Path] = frozenset()

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
            str(self._status),
            "--control",
            f"unix:{self.socket}",
        ]

    def begin(self) -> BinaryIO:
        """Take the folder for one run and return its log; what a run before has said of its end is no word of this one.

        The folder is taken as long as a process has the log open, so it is the run's however the program ends.

        Raises:
            StartFailed: another run goes on in it.
        """
        import fcntl  # not on every machine that may watch a run in a cluster

        log = self.log.open("ab")
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            log.close()
            where = f"name another folder, or connect to it at unix:{self.socket}"
            raise StartFailed(f"another run goes on in {self.folder}: {where}") from error
        except OSError:
            pass  # There are file systems without locks: then it is the program's affair.
        log.truncate(0)
        self._status.unlink(missing_ok=True)
        return log

    @contextmanager
    def unless_started(self, file: str | Path) -> Iterator[None]:
        """Leave nothing behind if what is done within starts no run of a file.

        Raises:
            StartFailed: the system did not let it, for what is an OSError within.
        """
        try:
            yield
        except OSError as error:
            self.leave()
            raise self.failed(file, str(error)) from error
        except BaseException:
            self.leave()
            raise

    def outcome(self) -> Outcome:
        """Return how the run ended; raise StartFailed if it left no status, with its last lines."""
        if not self._status.exists():
            raise StartFailed(f"loadstone run ended without a verdict: {self.tail()}")
        return outcome_from(json.loads(self._status.read_text()))

    def report(self) -> dict[str, Any]:
        """Return the report that the run left; raise StartFailed if there is none."""
        found = next(iter(_reports(self.folder) - self.earlier), None)
        if found is None:
            raise StartFailed(f"loadstone run left no report: {self.tail()}")
        report: dict[str, Any] = json.loads(gzip.decompress(found.read_bytes()))
        return report

    def tail(self) -> str:
        """Return the last lines that the run printed."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:]) or "it said nothing"

    def failed(self, file: str | Path, why: str) -> StartFailed:
        """Return the error that says why the run of a file did not come up."""
        return StartFailed(f"loadstone run of {file} could not be started: {why}")

    def leave(self) -> None:
        """Delete the folder and everything in it if nobody has named it."""
        if self.is_temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _status(self) -> Path:
        return self.folder / "status.json"


def make_place(folder: str | Path | None) -> Place:
    """Return a run's place: a folder that is there or made, or a temporary one."""
    if folder is None:
        return Place(Path(tempfile.mkdtemp(prefix="loadstone-run-", dir=_parent())), is_temporary=True)
    path = Path(folder).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return Place(path, earlier=_reports(path))


def _parent() -> str:
    """Return the temporary directory, or a short one where the path of a socket would be too long for the kernel."""
    wanted = tempfile.gettempdir()
    longest = f"{wanted}/loadstone-run-xxxxxxxx/control.sock"
    return wanted if len(os.fsencode(longest)) <= SOCKET_PATH_MAX_BYTES else SHORT


def _reports(folder: Path) -> frozenset[Path]:
    return frozenset((folder / "results").glob("*.json.gz"))


def _yaml(value: object) -> str:
    """Return JSON that is YAML, too: that has no pairs of halves for what lies beyond 16 bits, and no DEL as it is."""
    text = json.dumps(value, ensure_ascii=False).encode("ascii", errors="backslashreplace").decode()
    return text.replace("\x7f", r"\x7f")

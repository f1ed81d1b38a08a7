"""Lay out the folders that stand in for a pod's volumes."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_MAX_BYTES = 107  # what the kernel holds
SHORT = "/tmp"  # noqa: S108 the folder in it has a name that nobody guesses


@dataclass(frozen=True, slots=True)
class Folders:
    """One run's scratch space: the script as it is mounted, the master's files, one socket folder a worker."""

    root: Path

    @property
    def script(self) -> Path:
        """Where the script's files are, as `/scripts` in a pod."""
        return self.root / "scripts"

    @property
    def run_file(self) -> Path:
        """The run's plan, the only document that the master reads."""
        return self.root / "run.json"

    @property
    def master(self) -> Path:
        """The master's checkpoint, report and address."""
        return self.root / "master"

    @property
    def director_sockets(self) -> Path:
        """The socket folder of the master and its director."""
        return self.root / "d"

    def worker_sockets(self, worker: int) -> Path:
        """The socket folder that worker number `worker` shares between agent, launcher and engines."""
        return self.root / f"w{worker}"

    def termination_file(self, role: str) -> Path:
        """Where the process called `role` leaves its last word."""
        return self.root / f"{role}.termination"

    def log_file(self, role: str) -> Path:
        """Where what the process called `role` prints is kept."""
        return self.root / "logs" / f"{role}.log"

    def remove(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.root, ignore_errors=True)


def make_folders(*, files: Mapping[str, bytes], workers: int) -> Folders:
    """Create a scratch space with the script's `files` (relative path to content) in it."""
    folders = Folders(Path(tempfile.mkdtemp(prefix="loadstone-", dir=_parent(workers))))
    try:
        for path in (folders.script, folders.master, folders.director_sockets, folders.root / "logs"):
            path.mkdir()
        for worker in range(workers):
            folders.worker_sockets(worker).mkdir()
        for name, content in files.items():
            path = folders.script / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError:
        folders.remove()
        raise
    return folders


def _parent(workers: int) -> str:
    """Return the temporary directory, or a short one where the paths of sockets would be too long for the kernel."""
    wanted = tempfile.gettempdir()
    longest = f"{wanted}/loadstone-xxxxxxxx/w{workers}/launcher.sock"
    return wanted if len(os.fsencode(longest)) <= SOCKET_PATH_MAX_BYTES else SHORT


def read_address(folders: Folders) -> str | None:
    """Return `host:port` of the master once it listens."""
    path = folders.master / "address"
    return path.read_text().strip() if path.exists() else None

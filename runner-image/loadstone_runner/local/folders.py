"""Lay out the folders that stand in for a pod's volumes."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    # Unix socket paths hold 107 bytes, so the folder stays in the short temporary directory.
    folders = Folders(Path(tempfile.mkdtemp(prefix="loadstone-")))
    for path in (folders.script, folders.master, folders.director_sockets, folders.root / "logs"):
        path.mkdir()
    for worker in range(workers):
        folders.worker_sockets(worker).mkdir()
    for name, content in files.items():
        path = folders.script / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folders


def read_address(folders: Folders) -> str | None:
    """Return `host:port` of the master once it listens."""
    path = folders.master / "address"
    return path.read_text().strip() if path.exists() else None

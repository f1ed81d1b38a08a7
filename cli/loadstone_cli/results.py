"""The files that a run on this machine leaves: its report, its log and its status. How a run ended is not said here."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loadstone_core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loadstone_runner.local.run import LocalResult

LOGS = "logs"


class NowhereToKeep(UserError):  # noqa: N818 it says why in a sentence
    """What a run leaves could not be written; the message says what, where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written at the end of a run.

    Attributes:
        report: its path; None when there is none.
        log: its path; None when there is none.
        losses: a sentence for each file that could not be written.
    """

    report: Path | None
    log: Path | None
    losses: tuple[str, ...]


class ResultFiles:
    """Where one run keeps what it leaves.

    Attributes:
        running_log: where the log is to be written; it belongs to this run alone and gets its name when all is kept.
    """

    def __init__(self, name: str, results: Path, status_file: Path | None) -> None:
        self.running_log = results / LOGS / f".{name}-{secrets.token_hex(8)}-running.log.gz"
        self._name = name
        self._results = results
        self._logs = results / LOGS
        self._status_file = status_file

    def check(self) -> None:
        """Make the folders and try them out; raise NowhereToKeep for what cannot be written."""
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            for folder in (self._results, self._logs):
                _try_out(folder)
        except OSError as error:
            raise NowhereToKeep(
                f"results cannot be kept in {self._results}: {_why(error)}; name another folder with --results"
            ) from error
        if self._status_file is None:
            return
        try:
            _try_out_file(self._status_file)
        except OSError as error:
            raise NowhereToKeep(
                f"the status cannot be written to {self._status_file}: {_why(error)}; name another file with --status"
            ) from error

    def keep(self, result: LocalResult, status: Mapping[str, Any], log_error: OSError | None) -> Kept:
        """Write what the run has left; what cannot be written harms nothing else."""
        losses: list[str] = []
        report = log = None
        stem = f"{self._name}-{_stamp(result)}"
        if result.report_gzip:
            path = self._results / f"{stem}.json.gz"
            with _noting(losses, f"the report could not be written to {path}"):
                _write(path, result.report_gzip)
                report = path
        path = self._logs / f"{stem}.log.gz"
        with _noting(losses, f"the log could not be written to {path}"):
            if log_error is not None:
                raise log_error
            log = self.running_log.replace(path)
        if self._status_file is not None:
            with _noting(losses, f"the status could not be written to {self._status_file}"):
                self._status_file.write_text(json.dumps(status, indent=2) + "\n")
        return Kept(report, log, tuple(losses))

    def discard(self) -> None:
        """Remove the log of a run that could not begin."""
        self.running_log.unlink(missing_ok=True)


@contextmanager
def _noting(losses: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        losses.append(f"{what}: {_why(error)}")


def _try_out(folder: Path) -> None:
    """Write a byte into a folder and leave nothing; raise OSError if that cannot be."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\n")


def _try_out_file(path: Path) -> None:
    if not path.exists():
        _try_out(path.parent)
        return
    # It may be a pipe or a device, so it is not opened.
    if not os.access(path, os.W_OK):
        raise PermissionError(0, "it may not be written")


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or leave none; raise OSError if it cannot be."""
    try:
        path.write_bytes(content)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _stamp(result: LocalResult) -> str:
    moment_ns = result.report.times.finished_ns or time.time_ns()
    return datetime.fromtimestamp(moment_ns / 1e9, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


def _why(error: OSError) -> str:
    return error.strerror or str(error)

"""The files that a run on this machine leaves: its report, its log and its status. How a run ended is not said here."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import tempfile
import time
from contextlib import contextmanager, suppress
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
        report_path, log_path = self._reserve(f"{self._name}-{_stamp(result)}")
        if result.report_gzip:
            with _noting(losses, f"the report could not be written to {report_path}"):
                report_path.write_bytes(result.report_gzip)
                report = report_path
        with _noting(losses, f"the log could not be written to {log_path}"):
            if log_error is not None:
                raise log_error
            log = self.running_log.replace(log_path)
        for path, kept in ((report_path, report), (log_path, log)):
            if kept is None:
                _remove(path)
        if self._status_file is not None:
            with _noting(losses, f"the status could not be written to {self._status_file}"):
                self._status_file.write_text(json.dumps(status, indent=2) + "\n")
        return Kept(report, log, tuple(losses))

    def discard(self) -> None:
        """Remove the log of a run that could not begin."""
        _remove(self.running_log)

    def _reserve(self, stem: str) -> tuple[Path, Path]:
        """Return paths for report and log that no other run has or gets: empty files are there, if they can be."""
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        paths = ((self._results / f"{name}.json.gz", self._logs / f"{name}.log.gz") for name in names)
        return next(pair for pair in paths if _take(*pair))


def _take(*paths: Path) -> bool:
    """Make empty files; return False and leave none if another run has one of them."""
    taken: list[Path] = []
    for path in paths:
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            for each in taken:
                _remove(each)
            return False
        except OSError:
            continue  # Who writes it says why it cannot be.
        taken.append(path)
    return True


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


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _stamp(result: LocalResult) -> str:
    moment_ns = result.report.times.finished_ns or time.time_ns()
    return datetime.fromtimestamp(moment_ns / 1e9, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


def _why(error: OSError) -> str:
    return error.strerror or str(error)

"""Keep on disk what a master must not lose: its register, the ended streams, the report. Nothing is decided here.

Every write is on disk when the call returns. A file is replaced whole or appended to; what a crash or a full disk cut
off at the end of an appended file is not read, and removed by the next append.
"""

from __future__ import annotations

import json
import logging
import os
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from loadstone_core.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

_CHECKSUM_BYTES: Final = 4
_HEAD: Final = struct.Struct(">II")  # of a record: how many bytes follow the first number, and its checksum


@dataclass(frozen=True, slots=True)
class Register:
    """What was promised to workers: the newest version that may have been sent, and when the load starts.

    Attributes:
        epoch: of this master.
        revision: the newest that may have been sent.
        start_at_ns: of the load, on this machine's monotonic clock; 0 = not set yet.
        load_started_ns: the same on the wall clock.
        is_finished: the outcome has been shown.
        boot: how often the process of this master was started, from 1.
        run: what a later start needs to go on with the run, see `takeover`.
    """

    epoch: int
    revision: int
    start_at_ns: int = 0
    load_started_ns: int = 0
    is_finished: bool = False
    boot: int = 1
    run: Mapping[str, Any] = field(default_factory=dict)


class Store:
    """The files of one master in its state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sizes: dict[str, int] = {}  # of what is whole in a file that is appended to
        directory.mkdir(parents=True, exist_ok=True)

    def write_address(self, address: str) -> None:
        """Tell whoever looks where the master listens."""
        self._replace("address", address.encode())

    def write_register(self, register: Register) -> None:
        """Keep a version before it is sent: no later start of this master makes it again."""
        self._replace("register", json.dumps(asdict(register)).encode())

    def read_register(self) -> Register | None:
        """Return what a former start of this master promised, or None.

        Raises:
            InternalError: the file is not ours.
        """
        path = self._directory / "register"
        if not path.exists():
            return None
        try:
            return Register(**json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise InternalError(f"{path} is no register of this version") from error

    def read_address(self) -> str:
        """Return where a former start of this master has listened; empty if there was none."""
        path = self._directory / "address"
        return path.read_text() if path.exists() else ""

    def write_grants(self, grants: Mapping[str, Any]) -> None:
        """Keep who was given which numbers, before anybody is told."""
        self._replace("grants", json.dumps(grants).encode())

    def read_grants(self) -> dict[str, Any] | None:
        """Return who was given which numbers, None if nobody was given any; raise InternalError if it is not ours."""
        return self._read("grants")

    def write_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Keep what only this master knows, as it is now."""
        self._replace("checkpoint", json.dumps(checkpoint).encode())

    def read_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest checkpoint, None if there is none; raise InternalError if it is not ours."""
        return self._read("checkpoint")

    def append_ended(self, records: Iterable[bytes]) -> None:
        """Keep streams that have ended: only after this may anybody be told that they are durable."""
        self._append("ended", records)

    def read_ended(self) -> list[bytes]:
        """Return every whole record, oldest first; what follows a damaged one is not read."""
        return self._records("ended")

    def append_lost(self, records: Iterable[bytes]) -> None:
        """Keep streams that have ended before their time, as far as they have reported."""
        self._append("lost", records)

    def read_lost(self) -> list[bytes]:
        """Return every whole record, oldest first; what follows a damaged one is not read."""
        return self._records("lost")

    def write_report(self, gzip_json: bytes) -> None:
        """Keep the report."""
        self._replace("report.json.gz", gzip_json)

    def write_last_word(self, word: Mapping[str, Any]) -> bool:
        """Keep what the pod is to leave behind; return whether the disk took it."""
        try:
            self._replace("last-word", json.dumps(word).encode())
        except OSError:
            log.exception("Could not keep the last word")
            return False
        return True

    def read_last_word(self) -> dict[str, Any] | None:
        """Return what a former start of this master has left behind, None if the run was not finished then."""
        return self._read("last-word")

    def _append(self, name: str, records: Iterable[bytes]) -> None:
        if name not in self._sizes:
            self._sizes[name] = sum(map(_size_of, self._records(name)))
        content = b"".join(map(_pack, records))
        with (self._directory / name).open("ab") as file:
            file.truncate(self._sizes[name])  # nothing is read behind what an earlier attempt has left
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._sizes[name] += len(content)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._directory / name
        if not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise InternalError(f"{path} is not of this version") from error

    def _records(self, name: str) -> list[bytes]:
        path = self._directory / name
        return list(_unpack(path.read_bytes())) if path.exists() else []

    def _replace(self, name: str, content: bytes) -> None:
        path = self._directory / name
        written = path.with_name(f".{name}.new")
        with written.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _pack(record: bytes) -> bytes:
    return _HEAD.pack(_CHECKSUM_BYTES + len(record), crc32(record)) + record


def _size_of(record: bytes) -> int:
    return _HEAD.size + len(record)


def _unpack(content: bytes) -> Iterator[bytes]:
    """Yield records up to the first that is damaged, or not whole."""
    at = 0
    while at + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, at)
        record = content[at + _HEAD.size : at + _HEAD.size - _CHECKSUM_BYTES + length]
        if _CHECKSUM_BYTES + len(record) != length or crc32(record) != checksum:
            return
        yield record
        at += _size_of(record)

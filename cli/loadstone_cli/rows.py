"""Print a run for programs: a JSON object a line, each closed second as it comes, the outcome as the last line."""

import asyncio
import json
import select
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from loadstone_cli.outputs import give_up_on, while_it_lasts
from loadstone_protocol.documents import row_document
from loadstone_protocol.v1 import control_pb2 as pb

ROOM_SECONDS = 0.02


class RowLines:
    """The lines of one run. Once nobody can read them any more, they are left out: the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_read = True

    async def show(self, row: pb.Row) -> None:
        """Print one closed second; a slow reader delays the next one and nothing else. Cancelled, print nothing."""
        # A thread that writes could not be given up, and the end of the run would wait for it.
        while self._is_read and not self._has_room():  # noqa: ASYNC110 (on the other side of a pipe)
            await asyncio.sleep(ROOM_SECONDS)
        self._write(row_document(row, "1s"))

    def end(self, rest: Iterable[pb.Row], outcome: Mapping[str, Any]) -> None:
        """Print the rows that are left and the last line, as fast as they are read; KeyboardInterrupt ends that."""
        try:
            for row in rest:
                self._write(row_document(row, "1s"))
            self._write({"kind": "outcome", **outcome})
        except KeyboardInterrupt:
            self._is_read = False
            give_up_on(self._stream)

    def _has_room(self) -> bool:
        """Say whether a row can be printed without waiting: it is shorter than a page, which a pipe with room takes."""
        room = select.poll()
        room.register(self._stream, select.POLLOUT)
        return bool(room.poll(0))

    def _write(self, document: Mapping[str, Any]) -> None:
        if not self._is_read:
            return
        try:
            self._stream.write(json.dumps(document, separators=(",", ":")) + "\n")
            self._stream.flush()
        except OSError as error:
            self._is_read = False
            give_up_on(self._stream)
            if not isinstance(error, BrokenPipeError):
                with while_it_lasts(sys.stderr):
                    print(f"loadstone: rows can no longer be printed: {error.strerror}", file=sys.stderr)

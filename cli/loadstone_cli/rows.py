"""Print a run for programs: a JSON object a line, each closed second as it comes, the outcome as the last line."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from loadstone_cli.outputs import give_up_on, while_it_lasts
from loadstone_protocol.documents import row_document
from loadstone_protocol.v1 import control_pb2 as pb


class RowLines:
    """The lines of one run. Once nobody can read them any more, they are left out: the run goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_read = True

    async def show(self, row: pb.Row) -> None:
        """Print one closed second; who reads slowly delays the next one and nothing else."""
        await asyncio.to_thread(self._write, row_document(row, "1s"))

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Print the last line."""
        self._write({"kind": "outcome", **outcome})

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

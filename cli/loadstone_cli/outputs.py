"""Print to outputs that may be gone, as a closed terminal, a pipe without a reader or a full disk, or lack letters."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


def take_any_text() -> None:
    """Print letters that the terminal's character set lacks as their numbers in it: they are no errors.

    What is printed to an output that was closed before the program began goes nowhere.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 it is open as long as the program runs
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115 likewise
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def while_it_lasts(stream: TextIO) -> Iterator[None]:
    """Print to `stream`; once that fails, all words for it go nowhere, and the command goes on."""
    try:
        yield
        stream.flush()
    except OSError:
        give_up_on(stream)


def give_up_on(stream: TextIO) -> None:
    """Let what is held for `stream` go nowhere, too: it would make the exit code another one than the verdict's."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

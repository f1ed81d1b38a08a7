"""Import, before the load, what a script will need in it: else its first users wait, and the engine is late for all.

Only libraries that some scripts use are imported in this way; which they are is told by words in the script's files.
A word too many costs a moment of the start, one too few a moment of the load.
"""

from __future__ import annotations

import contextlib
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

_NEEDED: Final = {
    "websocket": ("loadstone_runner.engine.http.websocket", "wsproto.connection", "wsproto.utilities", "hashlib"),
    "http2": ("loadstone_runner.engine.http.http2", "h2.connection", "h2.config", "h2.exceptions"),
    "cookies": ("loadstone_runner.engine.http.cookies",),
    "encodings": ("loadstone_runner.engine.http.encodings",),
    "br": ("brotli",),
    "zstd": ("zstandard",),
    "json": ("json",),
    "https": ("ssl",),
}
_WORD: Final = re.compile(r"[a-z0-9]+")


def import_ahead(directory: str, target: str) -> None:
    """Import what the script's files in a directory, or the URL of the target, ask for; what is missing is left out."""
    words = set(_WORD.findall(target))
    for module in tuple(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # A library is no file of the script, also where both lie below one folder.
        if file and file.startswith(directory) and not file.startswith(sys.prefix):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                words.update(_WORD.findall(Path(file).read_text(encoding="utf-8")))
    for word in _NEEDED.keys() & words:
        for name in _NEEDED[word]:
            with contextlib.suppress(ImportError):
                import_module(name)

"""Read JSON of any depth: what is nested deeper than any valid object is left out. Nothing is judged here.

The API server takes objects that are ten thousand levels deep, and shows them in the lists and watches of everybody.
Python's reader ends beyond some nine hundred, and with it would end whoever reads such a list. What is left of an
object is still deeper than a LoadTest may be, so that it is refused like any other that is wrong.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

# The fields that take anything are refused beyond 32 levels, and stand within the first 20.
LEVELS_MOST: Final = 200
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def loads(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(shallow(text.encode()))


def shallow(text: bytes) -> bytes:
    """Return a JSON text with null in place of each value that is nested too deeply; all others as they are."""
    if text.count(b"{") + text.count(b"[") <= LEVELS_MOST:
        return text
    kept: list[bytes] = []
    start = depth = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                if depth == LEVELS_MOST + 1:
                    kept.append(text[start : token.start()])
                    # Nothing, unless it ends.
                    start = len(text)
            case b"}" | b"]":
                if depth == LEVELS_MOST + 1:
                    kept.append(b"null")
                    start = token.end()
                depth -= 1
    return b"".join((*kept, text[start:]))

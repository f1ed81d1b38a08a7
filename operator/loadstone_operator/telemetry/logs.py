"""Write logs as one JSON object a line, with the fields that were given beside the message."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

from loadstone_core.clock import rfc3339

_KNOWN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_NANOS: Final = 1_000_000_000


class JsonFormatter(logging.Formatter):
    """One line a record; an exception's traceback is a field, so that it stays on the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        line: dict[str, object] = {
            "time": rfc3339(int(record.created * _NANOS)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # Only plain fields: kopf hangs whole Kubernetes objects on its records.
        fields = {key: value for key, value in record.__dict__.items() if key not in _KNOWN}
        line |= {key: value for key, value in fields.items() if isinstance(value, str | int | float | bool)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send every log to standard error as JSON; frameworks are heard only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for framework in ("kopf", "aiohttp", "kubernetes", "asyncio", "grpc"):
        logging.getLogger(framework).setLevel(logging.WARNING)

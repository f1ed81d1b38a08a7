"""Import a script as an engine does and print what became of it, as one JSON object in the last line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from loadstone_runner.engine.introduction import load_and_report
from loadstone_runner.engine.tasks import tags_of

if TYPE_CHECKING:
    from loadstone_runner.settings import EngineSettings


def serve(settings: EngineSettings) -> int:
    """Print `{"ok", "problem", "traceback", "user_classes", "tags", "has_shape"}`; return 0, or 1 if it is not ok."""
    script, report = load_and_report(settings)
    sys.stdout.write(
        "\n"
        + json.dumps(
            {
                "ok": report.ok,
                "problem": report.problem,
                "traceback": report.traceback,
                "user_classes": list(report.user_classes),
                "tags": sorted(tags_of(script.users)) if script else [],
                "has_shape": report.has_shape,
            }
        )
        + "\n"
    )
    return 0 if report.ok else 1

"""Keep a status within its 32 KiB: what is left out first stands in one list, and how much is left out is said.

The whole truth is in the report; nothing of it is changed here.
"""

from __future__ import annotations

import copy
import json
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from loadstone_operator.status.attempts import shorten_attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT_BYTES: Final = 32 * 1024

_LONGEST_MESSAGE: Final = 4096
# However much else has to be said, so much of a message stays.
_SHORTEST_MESSAGE: Final = 128


def fit(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the status, without its least important parts if it would be too large."""
    fitted = dict(status)
    if len(str(fitted.get("message", ""))) > _LONGEST_MESSAGE:
        fitted["message"] = fitted["message"][: _LONGEST_MESSAGE - 3] + "..."
    if size(fitted) <= LIMIT_BYTES:
        return fitted
    # What is cut shares its lists with the master's report and with the status that was written before.
    fitted = copy.deepcopy(fitted)
    for cut in _CUTS:
        while size(fitted) > LIMIT_BYTES:
            if not cut(fitted):
                break
    return fitted


def size(status: Mapping[str, Any]) -> int:
    """Return the bytes of the status as the API server gets it."""
    return len(json.dumps(status).encode())


def _drop_endpoint(status: dict[str, Any], keep: int) -> bool:
    results = status.get("results") or {}
    endpoints = results.get("endpoints") or []
    if len(endpoints) <= keep:
        return False
    # A tenth at a time, so that a long list costs few measurements.
    dropped = max(1, (len(endpoints) - keep) // 10)
    del endpoints[-dropped:]
    results["endpointsOmitted"] = int(results.get("endpointsOmitted", 0)) + dropped
    return True


def _drop_last(status: dict[str, Any], path: tuple[str, ...], keep: int) -> bool:
    owner: Any = status
    for key in path[:-1]:
        owner = owner.get(key) or {}
    held = owner.get(path[-1])
    if not isinstance(held, list) or len(held) <= keep:
        return False
    held.pop()
    _count(owner, path[-1])
    return True


def _drop_threshold(status: dict[str, Any], keep: int) -> bool:
    """Leave out the last of the thresholds that say least: one that held before one that broke."""
    thresholds = status.get("thresholds") or []
    if len(thresholds) <= keep:
        return False
    least = min(_weight(each) for each in thresholds)
    del thresholds[max(index for index, each in enumerate(thresholds) if _weight(each) == least)]
    _count(status, "thresholds")
    return True


def _weight(threshold: Mapping[str, Any]) -> int:
    match threshold.get("verdict"), threshold.get("severity"):
        case "Failed", "Warn":
            return 2
        case "Failed", _:
            return 3
        case "NoData", _:
            return 1
        case _:
            return 0


def _count(owner: dict[str, Any], name: str) -> None:
    """Say of a list that one more of it is left out."""
    owner[f"{name}Omitted"] = int(owner.get(f"{name}Omitted", 0)) + 1


def _shorten_findings(status: dict[str, Any]) -> bool:
    """Leave out the last findings at once, as few as there is no room for: a long run may have thousands."""
    findings = status.get("findings") or []
    if len(findings) <= 1:
        return False
    said = [finding for finding in findings if not finding.startswith("Omitted:")]
    omitted = sum(int(finding.split()[1]) for finding in findings if finding.startswith("Omitted:"))
    room = LIMIT_BYTES - size({**status, "findings": []})
    # Each with the comma and the space behind it.
    ends = list(accumulate((len(json.dumps(finding)) + 2 for finding in said), initial=0))
    kept = max(len(said) - 1, 0)
    while kept and ends[kept] + len(json.dumps(_omission(omitted + len(said) - kept))) > room:
        kept -= 1
    status["findings"] = [*said[:kept], _omission(omitted + len(said) - kept)]
    return kept > 0


def _omission(count: int) -> str:
    return f"Omitted: {count} more findings are in the report."


def _shorten_message(status: dict[str, Any]) -> bool:
    """Halve the longest message of the status and its conditions."""
    longest = max((status, *(status.get("conditions") or ())), key=lambda each: len(each.get("message", "")))
    text = longest.get("message", "")
    if len(text) <= _SHORTEST_MESSAGE:
        return False
    longest["message"] = text[: len(text) // 2] + "..."
    return True


# In this order, each as far as it goes before the next.
_CUTS: Final[tuple[Callable[[dict[str, Any]], bool], ...]] = (
    shorten_attempts,
    lambda status: _drop_endpoint(status, 20),
    lambda status: _drop_last(status, ("results", "topErrors"), 3),
    lambda status: _drop_last(status, ("workers", "problems"), 3),
    lambda status: _drop_last(status, ("history",), 3),
    lambda status: _drop_endpoint(status, 0),
    _shorten_findings,
    lambda status: _drop_last(status, ("results", "topErrors"), 0),
    lambda status: _drop_threshold(status, 8),
    _shorten_message,
    lambda status: _drop_last(status, ("workers", "problems"), 0),
    lambda status: _drop_threshold(status, 1),
)

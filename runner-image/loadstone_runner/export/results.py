"""Write a run's report: one gzip JSON document with everything that was measured, in a bounded size.

What the run means was concluded before; the form is documented in docs/report.md.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.stats.timeline import join_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadstone_core.stats.series import Series
    from loadstone_core.stats.timeline import Row

SCHEMA: Final = "loadstone.dev/report/v1"
REPORT_MAX_BYTES: Final = 512 * 1024
ROW_FIELDS: Final = (
    "second",
    "width",
    "requests",
    "failures",
    "users",
    "p50",
    "p95",
    "p99",
    "iterations",
    "dropped",
    "gaps",
)

_FEWEST_ROWS: Final = 60
_FEWEST_ERRORS: Final = 60


def write_report(
    head: dict[str, Any], *, series: Iterable[Series], rows: Sequence[Row], max_bytes: int = REPORT_MAX_BYTES
) -> bytes:
    """Return the report as gzip JSON of at most `max_bytes`, unless what is never left out has more.

    What does not fit is left out in this order: rows of the timeline are joined, two into one, down to 60; then, of a
    head that takes more than half, the rarest errors, down to 60, and what workers said at their end, the last ones'
    first; then the buckets of the series with the fewest samples; then those series whole. `omitted` says how much it
    was. Counts of the series that remain, and everything else in `head`, are always complete.

    Args:
        head: what is known beside series and timeline: run, results, thresholds, findings, workers, and errors, the
            most frequent first.
        series: every merged series.
        rows: the timeline, oldest first.
        max_bytes: of the compressed document.
    """
    entries = [_entry(each) for each in sorted(series, key=lambda each: (-each.count, each.key))]
    timeline = list(rows)
    omitted = {"timelineRowsJoined": 0, "histograms": 0, "series": 0, "errors": 0, "workerMessages": 0}
    packed = _pack(head, entries, timeline, omitted=omitted)
    while len(packed) > max_bytes and len(timeline) > _FEWEST_ROWS:
        joined = join_pairs(timeline)
        omitted["timelineRowsJoined"] += len(timeline) - len(joined)
        timeline = joined
        packed = _pack(head, entries, timeline, omitted=omitted)
    while len(packed) > max_bytes and len(_pack(head, [], [], omitted=omitted)) > max_bytes // 2:
        if (shorter := _shorter(head, omitted)) is None:
            break
        head = shorter
        packed = _pack(head, entries, timeline, omitted=omitted)
    while len(packed) > max_bytes and entries:
        _shrink(entries, omitted, share=max_bytes / len(packed))
        packed = _pack(head, entries, timeline, omitted=omitted)
    return packed


def _pack(
    head: dict[str, Any], entries: list[dict[str, Any]], timeline: list[Row], *, omitted: dict[str, int]
) -> bytes:
    document = {
        "schema": SCHEMA,
        **head,
        "series": entries,
        "timeline": {"fields": ROW_FIELDS, "rows": [[getattr(row, name) for name in ROW_FIELDS] for row in timeline]},
        "omitted": omitted,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    # Without a time stamp: the same run gives the same bytes, and so the same digest.
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)


def _entry(series: Series) -> dict[str, Any]:
    key = series.key
    entry: dict[str, Any] = {
        "metric": key.metric,
        "kind": series.kind.value,
        "scenario": key.scenario,
        "method": key.method,
        "name": key.name,
        "labels": dict(key.labels),
        "count": series.count,
        "total": series.total,
    }
    outcomes = {name: count for name, count in sorted(series.outcomes.items()) if count}
    if outcomes:
        entry["outcomes"] = outcomes
    histogram = series.histogram
    if histogram is not None and histogram.count:
        indexes, counts = histogram.pack()
        entry |= {"min": histogram.minimum, "max": histogram.maximum}
        entry["histogram"] = {"scale": 6, "zeros": histogram.zeros, "indexes": indexes, "counts": counts}
    return entry


def _shrink(entries: list[dict[str, Any]], omitted: dict[str, int], *, share: float) -> None:
    """Leave out detail of the least used series, about as much as the document is too large."""
    detailed = [entry for entry in entries if "histogram" in entry]
    if detailed:
        keep = min(len(detailed) - 1, int(len(detailed) * share))
        for entry in detailed[keep:]:
            del entry["histogram"]
            omitted["histograms"] += 1
        return
    keep = min(len(entries) - 1, int(len(entries) * share))
    omitted["series"] += len(entries) - keep
    del entries[keep:]


def _shorter(head: dict[str, Any], omitted: dict[str, int]) -> dict[str, Any] | None:
    """Return a head with about half of its errors, or else of its workers' messages; None if it has no more to give."""
    errors = head.get("errors", ())
    if len(errors) > _FEWEST_ERRORS:
        kept = errors[: max(_FEWEST_ERRORS, len(errors) // 2)]
        omitted["errors"] += len(errors) - len(kept)
        return {**head, "errors": kept}
    workers = head.get("workers", ())
    telling = [number for number, worker in enumerate(workers) if worker.get("message")]
    if not telling:
        return None
    silenced = set(telling[len(telling) // 2 :])
    omitted["workerMessages"] += len(silenced)
    silent = [{**worker, "message": ""} if at in silenced else worker for at, worker in enumerate(workers)]
    return {**head, "workers": silent}

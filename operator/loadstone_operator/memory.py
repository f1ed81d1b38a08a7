"""Remember of one LoadTest what no object tells: since when things have been so. A restart begins anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadstone_operator.observation import ReportState
from loadstone_operator.permission import SourceState

if TYPE_CHECKING:
    from loadstone_operator.observation import CreationProblem


@dataclass(slots=True)
class Memory:
    """What happened to one run, in nanoseconds of the monotonic clock.

    Attributes:
        run: which run this is about; another run begins with an empty memory.
        began_ns: when it left the queue, or this process first looked at it: what was before says another clock.
        watched_ns: when this process first looked at it.
        problems: since when each (pod, reason) has been seen.
        files: the script, once it was read from a ConfigMap, until the run has ended.
        creation: why the last attempt to make the children failed, and when.
        heard_ns, unheard_ns: since when the master is heard, or is not; one of them is None.
        alone_ns: since when no pod of a worker runs.
        epoch_reserved: that is in the status for a master that was not made yet; 0: none.
    """

    run: int
    began_ns: int
    watched_ns: int
    problems: dict[tuple[str, str], int] = field(default_factory=dict)
    files: dict[str, bytes] | None = None
    source: SourceState = SourceState.UNKNOWN
    source_message: str = ""
    source_missing_ns: int | None = None
    source_asked_ns: int = 0
    source_digest: str = ""
    creation: CreationProblem | None = None
    creation_ns: int = 0
    report: ReportState = ReportState.NONE
    report_ns: int = 0
    class_missing_ns: int | None = None
    stopping_ns: int | None = None
    killed_ns: int | None = None
    heard_ns: int | None = None
    unheard_ns: int | None = None
    alone_ns: int | None = None
    epoch_reserved: int = 0
    finished_ns: int | None = None
    stored_ns: int | None = None
    written_ns: int = 0

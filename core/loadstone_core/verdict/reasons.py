"""Name the five verdicts and the closed vocabulary of their reasons; which applies is the table in `outcome`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a run means."""

    PASSED = "Passed"
    FAILED = "Failed"
    ERROR = "Error"
    ABORTED = "Aborted"
    INCONCLUSIVE = "Inconclusive"


class Reason(StrEnum):
    """Why: the closed vocabulary of verdicts and findings."""

    PASSED = "Passed"

    STOPPED = "Stopped"
    SUSPENDED = "Suspended"
    KILLED = "Killed"
    REPLACED = "Replaced"

    SPEC_INVALID = "SpecInvalid"
    TEMPLATE_INVALID = "TemplateInvalid"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SCRIPT_INVALID = "ScriptInvalid"
    SCRIPT_ERRORS = "ScriptErrors"
    SETUP_FAILED = "SetupFailed"
    PREFLIGHT_FAILED = "PreflightFailed"
    CLASS_DENIED = "ClassDenied"
    QUOTA_EXCEEDED = "QuotaExceeded"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePull"
    STARTUP_TIMEOUT = "StartupTimeout"
    CONFIG_CONFLICT = "ConfigConflict"
    DIRECTOR_LOST = "DirectorLost"
    MASTER_LOST = "MasterLost"
    WORKERS_LOST = "WorkersLost"
    WORKER_OOM = "WorkerOOM"
    HANDLER_FAILED = "HandlerFailed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    OPERATOR_ERROR = "OperatorError"

    THRESHOLDS_FAILED = "ThresholdsFailed"
    THRESHOLD_NO_DATA = "ThresholdNoData"
    GENERATOR_SATURATED = "GeneratorSaturated"
    RESULTS_INCOMPLETE = "ResultsIncomplete"
    BASELINE_REGRESSED = "BaselineRegressed"
    LOAD_NOT_REACHED = "LoadNotReached"

    # These decide nothing by themselves; they are findings only.
    LOGS_INCOMPLETE = "LogsIncomplete"
    HANDLER_ERRORS = "HandlerErrors"
    WORKER_DEGRADED = "WorkerDegraded"
    MEMORY_HIGH = "MemoryHigh"
    SERIES_LIMITED = "SeriesLimited"
    TARGET_STALLED = "TargetStalled"
    MASTER_RESTARTED = "MasterRestarted"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that happened: its reason, and a sentence on what it was and what to do."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        """Return it as the status lists it: `Reason: sentence`."""
        return f"{self.reason}: {self.message}"

"""Count what the operator does, for Prometheus. Label values come from closed sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The operator's figures; one object a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._reconciles = Counter(
            "loadstone_operator_reconciles", "Looks at LoadTests, by result.", ["result"], registry=self.registry
        )
        self._durations = Histogram(
            "loadstone_operator_reconcile_duration_seconds",
            "How long a look and what followed from it took.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._runs = Gauge(
            "loadstone_operator_runs", "LoadTests by the phase of their latest run.", ["phase"], registry=self.registry
        )
        self._verdicts = Counter(
            "loadstone_operator_verdicts", "Runs that ended, by verdict.", ["verdict"], registry=self.registry
        )
        self._calls = Counter(
            "loadstone_operator_api_requests",
            "Requests to the Kubernetes API; code 0 means no answer.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self._queue = Gauge(
            "loadstone_operator_queue_length", "LoadTests that wait for a look.", registry=self.registry
        )
        self._leader = Gauge("loadstone_operator_leader", "1 while this process may act.", registry=self.registry)
        self._missing = Gauge(
            "loadstone_operator_missing_rights", "Rights that the operator needs and lacks.", registry=self.registry
        )

    def reconciled(self, result: str, seconds: float) -> None:
        """Count one look: `ok`, `conflict` or `error`."""
        self._reconciles.labels(result).inc()
        self._durations.observe(seconds)

    def called(self, verb: str, kind: str, code: int) -> None:
        """Count one request to the API server."""
        self._calls.labels(verb, kind, str(code)).inc()

    def ended(self, verdict: str) -> None:
        """Count a verdict."""
        self._verdicts.labels(verdict).inc()

    def surveyed(self, phases: Mapping[str, int], *, queue: int, is_leader: bool) -> None:
        """Set what is counted now and then."""
        self._runs.clear()
        for phase, count in phases.items():
            self._runs.labels(phase).set(count)
        self._queue.set(queue)
        self._leader.set(int(is_leader))

    def reviewed(self, missing: int) -> None:
        """Set how many rights are missing."""
        self._missing.set(missing)

"""Count what an agent does and what its pod uses: for its heartbeats and its own metrics. Nothing is decided by it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from loadstone_runner.agent.usage import Usage
from loadstone_runner.export.agent_metrics import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadstone_protocol.v1 import engine_pb2
    from loadstone_runner.agent.relay import Relay

_SECOND_NS: Final = 1_000_000_000
_LANE_GAUGES: Final[tuple[tuple[str, str, Callable[[engine_pb2.LaneState], float]], ...]] = (
    ("queue_depth", "Custom messages that wait for their handler.", lambda lane: lane.depth),
    ("running", "Handlers of custom messages that run.", lambda lane: lane.running),
    ("oldest_seconds", "Age of the oldest message that is not handled.", lambda lane: lane.oldest_ns / _SECOND_NS),
    ("longest_seconds", "The longest that a handler has run.", lambda lane: lane.longest_ns / _SECOND_NS),
)


class Health:
    """An agent's own counts and readings."""

    def __init__(self) -> None:
        self.heartbeats = 0
        self.acknowledged = 0
        self.connections = 0
        self.bad_messages = 0
        self.clock_offset_ns = 0
        self.lag_seconds = 0.0
        self.last_loss = ""
        self.usage = Usage()
        self._largest_lag_seconds = 0.0

    def late(self, seconds: float) -> None:
        """Note how late the agent's own loop was."""
        self.lag_seconds = seconds
        self._largest_lag_seconds = max(self._largest_lag_seconds, seconds)

    def take_largest_lag_ns(self) -> int:
        """Return the largest lag of the agent's own loop since the last call."""
        largest, self._largest_lag_seconds = self._largest_lag_seconds, 0.0
        return round(largest * _SECOND_NS)

    def connection_lost(self, why: str) -> None:
        """Remember why there is no master."""
        self.last_loss = why

    def memory_bytes(self, relay: Relay) -> int:
        """Return the engines' resident memory, from the launcher or else from the engines themselves."""
        known = self.usage.memory_bytes
        return relay.engine_memory_bytes() if known is None else known

    def metrics(self, relay: Relay) -> list[Metric]:
        """Return what `/metrics` shows."""
        return [
            Metric("heartbeats_total", "counter", "Heartbeats sent.", self.heartbeats),
            Metric("heartbeats_answered_total", "counter", "Heartbeats that a master has answered.", self.acknowledged),
            Metric(
                "reconnects_total", "counter", "Connections to a master after the first.", max(0, self.connections - 1)
            ),
            Metric(
                "bad_messages_total", "counter", "Messages that were refused.", self.bad_messages + relay.bad_messages
            ),
            Metric("engine_users", "gauge", "Live users of this worker's engines.", relay.users()),
            Metric(
                "engine_loop_lag_seconds", "gauge", "Largest of the last second.", relay.largest_lag_ns() / _SECOND_NS
            ),
            Metric(
                "engine_cpu_ratio",
                "gauge",
                "Cores that the engines used in the last second.",
                self.usage.cpu_permille() / 1_000,
            ),
            Metric(
                "engine_throttled_ratio",
                "gauge",
                "Share of the last second in which the CPU limit kept the engines from running.",
                self.usage.throttled_permille / 1_000,
            ),
            Metric("engine_memory_bytes", "gauge", "Resident memory of the engines.", self.memory_bytes(relay)),
            Metric(
                "container_memory_bytes",
                "gauge",
                "Memory of the engines' container that cannot be taken back.",
                self.usage.cgroup_bytes,
            ),
            Metric("loop_lag_seconds", "gauge", "How late the agent's last tick was.", self.lag_seconds),
            Metric(
                "clock_offset_seconds", "gauge", "Master's clock minus this one.", self.clock_offset_ns / _SECOND_NS
            ),
            Metric("cpu_seconds_total", "counter", "Processor time of the agent.", time.process_time()),
            *_lanes(relay),
        ]


def _lanes(relay: Relay) -> Iterator[Metric]:
    """Yield how the handling of custom messages is, by engine and kind of message."""
    lanes = [((("engine", str(engine)), ("lane", lane.name)), lane) for engine, lane in relay.lanes()]
    for name, text, read in _LANE_GAUGES:
        yield from (Metric(f"message_{name}", "gauge", text, read(lane), labels) for labels, lane in lanes)
    for result in ("processed", "failed", "rejected"):
        for labels, lane in lanes:
            value = getattr(lane, result)
            yield Metric(f"messages_{result}_total", "counter", f"Custom messages that were {result}.", value, labels)
    for labels, lane in lanes:
        text, seconds = "Time that handlers have run.", lane.duration_ns / _SECOND_NS
        yield Metric("message_handler_seconds_total", "counter", text, seconds, labels)

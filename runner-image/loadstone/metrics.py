"""The script's own metrics, beside those that every run has. Keeping and merging them belongs to the engine.

    orders = Counter("orders", unit="1")
    basket = Trend("basket_value", unit="cent")

    orders.add(1, tier="gold")
    basket.add(1299)

Recording never raises because of a value: NaN, infinity, what is no number, what is too large, and a counter's negative
amount are counted as errors of the kind `metric`, and the sample is left out. Labels are text of at most 256
characters, the rest is cut off; a metric takes at most 32 of them. Each combination is a series; the run has 2,000 in
all, with 2 MiB of names and labels, and what comes beyond is counted in `__overflow__`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar, Final

from loadstone import seat
from loadstone_core.stats.metrics import BUILT_IN, DERIVED

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}\Z")


class MetricKind(StrEnum):
    """What a metric does with its samples."""

    COUNTER = "counter"
    GAUGE = "gauge"
    RATE = "rate"
    TREND = "trend"


class Metric:
    """A metric with a name; see the four kinds. Make it at the top of the script, once.

    Attributes:
        name: as thresholds name it.
        unit: what one is one of, for people: "ms", "cent", "1".
    """

    __slots__ = ("name", "unit")

    kind: ClassVar[MetricKind]

    def __init__(self, name: str, unit: str = "1") -> None:
        """Make a metric; one of the same name and kind is the same metric.

        Raises:
            ValueError: the name is no such name, is one of Loadstone's own, or belongs to a metric of another kind.
        """
        if not _NAME.match(str(name)):
            raise ValueError(f"a metric's name has small letters, digits and _, at most 64 of them; {name!r} has not")
        if name in BUILT_IN or name in DERIVED:
            raise ValueError(f"metric {name}: the name is one of Loadstone's own; choose another")
        held = _KINDS.setdefault(name, self.kind)
        if held is not self.kind:
            raise ValueError(f"metric {name} is a {held} already; a {self.kind} needs another name")
        self.name = name
        self.unit = unit

    def _record(self, value: object, labels: dict[str, object]) -> None:
        taken = seat.taken
        if taken is not None:
            taken.record(self.kind, self.name, value, labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, unit={self.unit!r})"


class Counter(Metric):
    """A number that only grows: `orders:count >= 100`, `orders:rate > 5/s`."""

    __slots__ = ()
    kind = MetricKind.COUNTER

    def add(self, amount: float = 1, /, **labels: object) -> None:
        """Add a whole number from 0 on; others are rounded."""
        self._record(amount, labels)


class Gauge(Metric):
    """A number as it stands: `queue_length:value < 50`. The value of the run is the sum of the engines' last values."""

    __slots__ = ()
    kind = MetricKind.GAUGE

    def set(self, value: float, /, **labels: object) -> None:
        """Set the value, rounded to a whole number."""
        self._record(value, labels)


class Rate(Metric):
    """A share: how often something was so. `cache_hits:rate > 90%`."""

    __slots__ = ()
    kind = MetricKind.RATE

    def add(self, ok: object, /, **labels: object) -> None:
        """Count one sample; the truth of `ok` is what counts."""
        self._record(ok, labels)


class Trend(Metric):
    """Values of which percentiles matter: `basket_value:p95 < 5000`."""

    __slots__ = ()
    kind = MetricKind.TREND

    def add(self, value: float, /, **labels: object) -> None:
        """Record a value, rounded to a whole number: choose a unit that is small enough, `ms` rather than `s`."""
        self._record(value, labels)


_KINDS: dict[str, MetricKind] = {}


def forget() -> None:
    """Drop what was named, before another script is loaded into the same process."""
    _KINDS.clear()

from collections.abc import Iterator

import pytest

from loadstone import Counter, Gauge, Rate, Trend, metrics, seat


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def record(self, kind, name, value, labels) -> None:
        self.heard.append((kind, name, value, labels))


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    metrics.forget()
    made = Listener()
    seat.take(made)
    yield made
    seat.take(None)
    metrics.forget()


def test_each_kind_is_recorded_with_its_labels(listener) -> None:
    Counter("orders").add(2, tier="gold")
    Counter("clicks").add()
    Gauge("queue").set(4.5, name="a")
    Rate("hits").add([], kind="b")
    Trend("basket", unit="cent").add(99)

    assert listener.heard == [
        ("counter", "orders", 2, {"tier": "gold"}),
        ("counter", "clicks", 1, {}),
        ("gauge", "queue", 4.5, {"name": "a"}),
        ("rate", "hits", [], {"kind": "b"}),
        ("trend", "basket", 99, {}),
    ]


def test_outside_of_an_engine_nothing_is_recorded() -> None:
    seat.take(None)

    Counter("orders").add(1)


def test_one_name_is_one_metric_of_one_kind() -> None:
    assert repr(Counter("orders", unit="piece")) == "Counter('orders', unit='piece')"
    Counter("orders")
    with pytest.raises(ValueError, match="orders is a counter already; a trend needs another name"):
        Trend("orders")


@pytest.mark.parametrize("name", ["", "Orders", "a b", "1st", "x" * 65, None, "latency{}", "größe"])
def test_a_name_that_no_threshold_could_say_is_refused(name) -> None:
    with pytest.raises(ValueError, match="small letters"):
        Rate(name)


@pytest.mark.parametrize("name", ["latency", "requests", "checks", "users", "bytes_sent"])
def test_a_name_of_loadstones_own_is_refused(name) -> None:
    with pytest.raises(ValueError, match="Loadstone's own"):
        Gauge(name)

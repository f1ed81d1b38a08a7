"""What is left out before it is recorded: never what is needed, and it costs no series."""

import pytest

from loadstone_core.stats.dropping import NEEDED, Dropping, refusal
from loadstone_core.stats.merge import Merge
from loadstone_core.stats.metrics import Phase, SeriesKey
from loadstone_core.stats.recorder import Recorder
from loadstone_core.stats.stream import Counters, StreamId, StreamState


def recorder_without(*written: str) -> Recorder:
    recorder = Recorder()
    recorder.leave_out(Dropping(written))
    return recorder


def request(recorder: Recorder, name: str, latency_ns: int, service_ns: int) -> None:
    recorder.request(
        method="GET",
        name=name,
        latency_ns=latency_ns,
        service_ns=service_ns,
        failed=False,
        unsent=False,
        ambiguous=False,
        interrupted=False,
        sent=1,
        received=1,
    )


def test_what_is_left_out_has_no_series_and_takes_no_place() -> None:
    recorder = recorder_without("service_time", "first_byte", "checks", "orders", "basket")
    for number in range(5_000):
        recorder.phase(Phase.FIRST_BYTE, 5, method="GET", name=str(number))
        recorder.check(str(number), ok=True)
        recorder.counter("orders", 1 << 61)
        recorder.trend("basket", 1 << 61)
    request(recorder, "a", 9, 5)
    request(recorder, "b", 7, 7)

    states = recorder.whole()
    assert sorted((each.key.metric, each.key.name, each.count) for each in states) == [
        ("latency", "a", 1),
        ("latency", "b", 1),
    ]
    assert recorder.refused == 0
    assert recorder.errors() == ()
    assert {each.total for each in states} == {9, 7}
    merge = Merge()
    counters = Counters(started=2, completed=2, unsent=0, ambiguous=0, iterations_started=0, iterations_completed=0)
    merge.apply(
        StreamState(
            stream=StreamId(0, 1, 0, 1),
            sequence=1,
            second=0,
            full=True,
            series=states,
            counters=counters,
            errors=(),
            users=0,
            final=True,
        )
    )
    assert (merge.totals().requests, merge.totals().series_complete) == (2, True)


def test_a_label_that_is_left_out_joins_its_series() -> None:
    recorder = recorder_without("checks{tier}")
    for tier in ("gold", "tin"):
        recorder.check("answers", True, (("place", "x"), ("tier", tier)))  # noqa: FBT003 as scripts say it
        recorder.counter("orders", 1, (("tier", tier),))
    recorder.check("plain", True)  # noqa: FBT003 the same

    counts = {(each.key.metric, each.key.name, each.key.labels): each.count for each in recorder.whole()}
    assert counts == {
        ("checks", "answers", (("place", "x"),)): 2,
        ("checks", "plain", ()): 1,
        ("orders", "", (("tier", "gold"),)): 1,
        ("orders", "", (("tier", "tin"),)): 1,
    }


@pytest.mark.parametrize("metric", sorted(NEEDED))
def test_what_results_and_verdict_are_made_from_cannot_be_left_out(metric: str) -> None:
    assert "cannot be left out" in str(refusal(metric, ()))


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("dns", "dns cannot be left out: a threshold uses it"),
        ("checks{tier}", "checks{tier} cannot be left out: a threshold uses it"),
        ("checks", "checks cannot be left out"),
        ("checks{ name }", "name is no label of the script"),
        ("checks{place}", None),
        ("latency{tier}", None),
        ("first_byte", None),
        ("orders", None),
    ],
)
def test_what_thresholds_use_cannot_be_left_out(written: str, answer: str | None) -> None:
    used = [("dns", ()), ("checks", ("tier",))]

    told = refusal(written, used)

    assert (told is None) if answer is None else (told or "").startswith(answer)


def test_a_key_without_labels_that_are_left_out_stays_itself() -> None:
    dropping = Dropping(["checks{tier}", "dns"])
    key = SeriesKey("checks", "default", "", "a", (("place", "x"),))

    assert dropping.kept(key) == key
    assert dropping.kept(key._replace(labels=())) == key._replace(labels=())
    assert (dropping.has_metric("dns"), dropping.has_metric("checks")) == (True, False)

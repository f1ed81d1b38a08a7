from collections.abc import Iterator

import pytest

from loadstone import Summary, config, events, every, listening, seat, stop_run


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    listening.forget()
    yield
    listening.forget()
    seat.take(None)
    seat.set_config({})


def test_a_listener_stays_what_it_is_and_may_go_again() -> None:
    @events.request.add_listener
    def hear(**told) -> None: ...

    events.test_start.add_listener(hear)
    assert events.request.listeners == events.test_start.listeners == [hear]

    events.request.remove_listener(hear)
    assert not events.request.listeners


def test_what_cannot_be_called_cannot_listen() -> None:
    with pytest.raises(ValueError, match=r"events\.test_stop: 3 cannot be called"):
        events.test_stop.add_listener(3)


def test_an_event_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="no event 'init'; there are test_start, spawning_complete, request"):
        events.init  # noqa: B018 the look-up is the test


def test_who_watches_is_known_with_the_distance() -> None:
    @every(2.5)
    def watch(summary: Summary) -> None: ...

    assert listening.watches() == ((2.5, watch),)


@pytest.mark.parametrize("seconds", [0, 0.5, -1, float("nan")])
def test_a_distance_below_that_of_the_figures_is_refused(seconds) -> None:
    with pytest.raises(ValueError, match="from 1 on"):
        every(seconds)


@pytest.mark.promise("script-config")
def test_config_is_what_it_is_now_and_cannot_be_written() -> None:
    assert (dict(config), config.get("rate", "5")) == ({}, "5")
    given = {"rate": "7"}
    seat.set_config(given)
    names = iter(config)
    seat.set_config({"other": "1"})
    given["later"] = "changed"

    assert (config["other"], len(config), repr(config)) == ("1", 1, "config({'other': '1'})")
    assert list(names) == ["rate"]
    with pytest.raises(TypeError):
        config["other"] = "2"  # type: ignore[index]


def test_the_run_is_stopped_with_a_sentence_and_nothing_happens_outside_of_one() -> None:
    class Engine:
        heard: list[str] = []  # noqa: RUF012 one engine

        def stop_run(self, why: str) -> None:
            self.heard.append(why)

    stop_run("nobody hears")
    seat.take(Engine())
    stop_run("x" * 1000)
    stop_run("")

    assert Engine.heard == ["x" * 500, "the script gave no reason"]

import json

from loadstone import Summary
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.stats.stream import StreamId
from loadstone_core.units import SECOND
from loadstone_protocol.views import ProgressView
from loadstone_runner.engine.events import summary_of
from loadstone_runner.master import news
from loadstone_runner.master.account import Account
from loadstone_runner.master.news import Happened, Incident, News

PROFILE = Profile((Segment(0, SECOND, 0, 10),), SECOND)


def account(name: str = "default", model: Model = Model.USERS) -> Account:
    return Account(Scenario(name=name, load=LoadProfile(model, PROFILE, None), graceful_stop_ns=0), 0)


def live(counted: Account, users: int, second: int = 0) -> None:
    counted.user_seconds.observe(StreamId(0, 1, 0, 1), second, users, sequence=second + 1, is_final=False)


def heard(told: News, second: int) -> list[object]:
    return list(told.each_second(ProgressView(elapsed_ns=second * SECOND)))


def incidents(told: News, second: int) -> list[object]:
    return [each for each in heard(told, second) if isinstance(each, Incident)]


def test_all_users_are_there_when_the_most_are_reached_for_the_first_time() -> None:
    counted = account()
    told = News((counted,))

    said = []
    for second, users in enumerate((3, 10, 9, 10)):
        live(counted, users, second)
        said.append(incidents(told, second))

    assert said == [[], [Incident(Happened.SPAWNING_COMPLETE)], [], []]


def test_users_of_each_closed_scenario_are_waited_for() -> None:
    first, second = account("a"), account("b")
    told = News((first, account("c", Model.RATE), second))
    live(first, 10)

    assert incidents(told, 0) == []
    live(second, 10)
    assert incidents(told, 1) == [Incident(Happened.SPAWNING_COMPLETE)]


def test_arrivals_have_no_users_to_wait_for() -> None:
    assert incidents(News((account(model=Model.RATE),)), 0) == [Incident(Happened.SPAWNING_COMPLETE)]


def test_users_of_a_shape_are_there_once_it_has_asked_for_some_and_not_in_a_pause() -> None:
    nobody = LoadProfile(Model.USERS, Profile((Segment(0, 9, 0, 0),), 9), None, max_users=9, is_shaped=True)
    counted = Account(Scenario(name="default", load=nobody, graceful_stop_ns=0), 0)
    told = News((counted,))
    assert incidents(told, 0) == []
    live(counted, 10, 1)

    paused = told.each_second(ProgressView(elapsed_ns=SECOND), idle_ns=SECOND // 2, is_paused=True)
    [summary] = [json.loads(each.json) for each in paused if isinstance(each, news.Summary)]
    assert (summary["paused"], summary["loadSeconds"]) == (True, 0.5)
    assert incidents(told, 2) == [Incident(Happened.SPAWNING_COMPLETE)]


def test_each_second_is_told_once() -> None:
    told = News((account(),))

    assert [len(heard(told, second)) for second in (0, 0, 1, 1, 3)] == [1, 0, 1, 0, 1]


def test_the_summary_has_the_fields_and_units_that_scripts_know() -> None:
    counted = account()
    live(counted, 3)
    (summary,) = News((counted,)).each_second(
        ProgressView(
            elapsed_ns=2_500_000_000,
            users=3,
            requests=100,
            failures=2,
            requests_per_second=40,
            p50_ns=1_500_000,
            p95_ns=2_000_000,
            p99_ns=3_000_000,
            iterations=50,
            dropped_iterations=4,
        )
    )

    assert isinstance(summary, news.Summary)
    scenarios = {"default": {"users": 3, "iterations": 0, "percent": 100}}
    assert summary_of(summary.json) == Summary(2, 3, 100, 2, 40, 1.5, 2.0, 3.0, 50, 4, scenarios)

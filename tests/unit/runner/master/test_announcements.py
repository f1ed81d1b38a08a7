import json

import pytest

from loadstone import Summary
from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.units import SECOND
from loadstone_protocol.views import ProgressView
from loadstone_runner.engine.events import summary_of
from loadstone_runner.master.announcements import Announcements
from loadstone_runner.master.run import Stage


class Director:
    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.summaries: list[dict] = []

    def announce(self, event, **told) -> None:
        self.told.append((event, told))

    def summarize(self, summary) -> None:
        self.summaries.append(summary)


@pytest.fixture
def director() -> Director:
    return Director()


def announcements(director: Director, model: Model = Model.USERS) -> Announcements:
    return Announcements(director, LoadProfile(model, Profile((Segment(0, SECOND, 0, 10),), SECOND), None))


def test_the_load_begins_and_ends_once(director) -> None:
    made = announcements(director)
    for stage in Stage:
        made.enter(stage)
        made.enter(stage)
    made.end_load()
    made.end_load()

    assert director.told == [("test_start", {}), ("test_stop", {})]


def test_a_load_that_never_began_does_not_end(director) -> None:
    announcements(director).end_load()

    assert director.told == []


def test_each_lost_worker_is_told(director) -> None:
    made = announcements(director)
    made.lose(1, "node full")
    made.lose(2, "")

    assert director.told == [
        ("worker_lost", {"worker": 1, "message": "node full"}),
        ("worker_lost", {"worker": 2, "message": ""}),
    ]


def test_all_users_are_there_when_the_most_are_reached_for_the_first_time(director) -> None:
    made = announcements(director)
    for users in (3, 10, 9, 10):
        made.show(ProgressView(users=users))

    assert director.told == [("spawning_complete", {})]


def test_arrivals_have_no_users_to_wait_for(director) -> None:
    announcements(director, Model.RATE).show(ProgressView(users=1))

    assert director.told == [("spawning_complete", {})]


def test_the_summary_has_the_fields_and_units_that_scripts_know(director) -> None:
    announcements(director).show(
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

    told = json.dumps(director.summaries[0]).encode()
    assert summary_of(told) == Summary(2, 3, 100, 2, 40, 1.5, 2.0, 3.0, 50, 4)

"""What is said to everybody: numbered, kept before it is sent, and early enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.units import SECOND
from loadstone_protocol.messages import RunOrder
from loadstone_protocol.v1 import coordination_pb2
from loadstone_runner.master.commander import LEAD_NS, Commander
from loadstone_runner.master.course import Course
from loadstone_runner.master.run import Configure

if TYPE_CHECKING:
    from loadstone_core.register import Version
    from loadstone_runner.master.store import Register

PLAN = RunPlan(
    run=RunIdentity(uid="u/1", loadtest="t", namespace="n", number=1, epoch=1),
    spec_digest="",
    workers=1,
    engines_per_worker=1,
    scenarios=(
        Scenario(
            name="default",
            load=LoadProfile(Model.USERS, Profile((Segment(0, SECOND, 2, 2),), SECOND), None),
            graceful_stop_ns=30 * SECOND,
        ),
    ),
    tolerance_ppm=0,
    target=None,
    percentiles=(),
    thresholds=(),
    warm_up_ns=0,
    startup_timeout_ns=SECOND,
    script=ScriptRef(digest=None, directory="/", entrypoint="t.py"),
    config={"size": "3"},
    dropped=("dns",),
)


class World:
    """A clock, a disk on which each write takes time, and agents that hear at once."""

    is_behind = False

    def __init__(self, write_ns: int) -> None:
        self.now_ns = 1_000 * SECOND
        self.write_ns = write_ns
        self.kept: list[Register] = []
        self.sent: list[tuple[int, int, coordination_pb2.CommonBody]] = []  # revision, when, what
        anything = cast("Any", self)
        self.commander = Commander(PLAN, Course(PLAN.scenarios), clock=anything, store=anything, crew=anything)

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns + 7

    def write_register(self, register: Register) -> None:
        self.now_ns += self.write_ns
        self.kept.append(register)

    def configure(self, version: Version, body: bytes) -> None:
        assert self.kept[-1].revision == version.revision, "a version is on disk before it is sent"
        self.sent.append((version.revision, self.now_ns, coordination_pb2.CommonBody.FromString(body)))

    def say(self, order: RunOrder, stop_reason: str = "", **effect: bool) -> coordination_pb2.CommonBody:
        self.commander.configure(Configure(order, stop_reason, **effect), round_trip_ns=0)
        return self.sent[-1][2]


def test_a_slow_disk_takes_nothing_of_the_time_to_hear_of_the_start() -> None:
    world = World(write_ns=3 * SECOND)
    world.say(RunOrder.READY)
    started = world.say(RunOrder.RUNNING)

    _, sent_ns, _ = world.sent[-1]
    assert started.start_at_ns == sent_ns + LEAD_NS == world.commander.start_at_ns
    assert world.commander.load_started_ns == started.start_at_ns + 7
    assert world.kept[-1].start_at_ns > 0, "a master that begins anew has to know that there was a start"
    world.commander.keep()
    assert (world.kept[-1].revision, world.kept[-1].start_at_ns) == (2, started.start_at_ns)
    world.commander.close()
    world.commander.keep()
    assert world.kept[-1].is_finished, "a run that was over before its start stays so"


def test_what_is_ordered_for_later_is_ordered_earlier_where_the_disk_is_slow() -> None:
    assert World(0).commander.lead_ns(0) == LEAD_NS
    slow = World(write_ns=SECOND)
    slow.say(RunOrder.READY)

    assert slow.commander.lead_ns(SECOND) == 5 * SECOND


def test_values_of_the_script_are_sent_and_numbered_when_they_change() -> None:
    world = World(0)
    first = world.say(RunOrder.READY)
    assert (dict(first.config), list(first.dropped), world.commander.config_revision) == ({"size": "3"}, ["dns"], 1)
    world.say(RunOrder.RUNNING)
    assert (world.commander.has_news, world.commander.config_revision) == (False, 1)

    world.commander.config = {"size": "4"}
    assert world.commander.has_news
    assert dict(world.say(RunOrder.RUNNING).config) == {"size": "4"}
    assert (world.commander.has_news, world.commander.config_revision) == (False, 3)


def test_a_kill_leaves_no_time_and_says_that_it_is_one() -> None:
    world = World(0)
    told = [
        world.say(RunOrder.STOPPED, "Stopped"),
        world.say(RunOrder.STOPPED, "Stopped", is_immediate=True),
        world.say(RunOrder.STOPPED, "Killed", is_immediate=True),
    ]

    assert [(each.graceful_stop_ns // SECOND, each.kill) for each in told] == [(30, False), (10, False), (0, True)]

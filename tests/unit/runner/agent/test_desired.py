from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.grant import Grant
from loadstone_core.load.lots import Lot, Share
from loadstone_core.register import Held, Version
from loadstone_protocol.messages import EngineStage, Granted, GrantNews, RunOrder
from loadstone_runner.agent.desired import Desired
from loadstone_runner.agent.effects import Assignment, Common, EngineStatus, ProcessEnd
from loadstone_runner.agent.engines import Engines
from loadstone_runner.engine.grants import Grants as EngineGrants
from loadstone_runner.master.books import Place
from loadstone_runner.master.grants import Grants

OWN = "sha256:own"


def _common(revision=1, *, epoch=1, digest="d", order=RunOrder.READY, **fields):
    base = {
        "held": Held(Version(epoch, revision), digest),
        "is_intact": True,
        "run_order": order,
        "script_digest": OWN,
        "start_at_ns": 0,
        "stop_reason": "",
        "graceful_stop_ns": 30,
        "body": b"body",
    }
    return Common(**{**base, **fields})


def _assignment(version=1, *, epoch=1, slot=0, slots=1, grants=(), shares=()):
    return Assignment(epoch=epoch, version=version, slot=slot, slots=slots, grants=grants, shares=shares)


def _desired(engines=1, *, epoch=1):
    held = Engines(engines)
    desired = Desired(worker=7, engines=held, epoch=epoch, script_digest=OWN, first_revision=100)
    return desired, held


def _apply(held, engine, revision):
    status = EngineStatus(stage=EngineStage.READY, users=0, applied_revision=revision, is_starving=False)
    held.hear(held.get(engine, 1), status)


@given(st.permutations([(epoch, revision) for epoch in (1, 2, 3) for revision in (0, 1, 2)]))
def test_offers_in_any_order_leave_the_newest_and_never_go_back(order):
    desired, _ = _desired()
    seen = []
    for epoch, revision in order:
        adopted = desired.offer(_common(revision, epoch=epoch))
        if adopted:
            assert not seen or (epoch, revision) > seen[-1]
            seen.append((epoch, revision))

    assert desired.common is not None
    assert desired.common.held.version == Version(3, 2)
    assert desired.epoch == 3
    assert not desired.conflict


def test_one_version_with_two_contents_is_a_conflict_and_the_first_is_kept():
    desired, _ = _desired()
    desired.offer(_common(2, digest="first"))

    assert not desired.offer(_common(2, digest="second"))
    assert desired.conflict == "worker 7 was sent version 1.2 with two contents"
    assert desired.common is not None
    assert desired.common.held.digest == "first"


def test_the_same_again_is_no_news_and_no_conflict():
    desired, _ = _desired()
    desired.offer(_common(2))

    assert not desired.offer(_common(2))
    assert not desired.conflict


def test_a_content_that_does_not_fit_its_digest_is_not_adopted():
    desired, _ = _desired()

    assert not desired.offer(_common(is_intact=False))
    assert desired.common is None
    assert desired.conflict


def test_another_script_is_a_conflict_until_a_configuration_fits():
    desired, _ = _desired()

    assert not desired.offer(_common(1, script_digest="sha256:other"))
    assert "sha256:own" in desired.conflict
    assert "sha256:other" in desired.conflict
    assert desired.offer(_common(2))
    assert not desired.conflict


def test_a_run_whose_script_is_in_the_image_names_no_digest():
    desired, _ = _desired()

    assert desired.offer(_common(script_digest=""))


@pytest.mark.parametrize(
    "refused",
    [_assignment(1), _assignment(2), _assignment(9, epoch=1), _assignment(9, epoch=2, slot=3, slots=3)],
    ids=["older", "same", "lower epoch", "slot out of range"],
)
def test_an_assignment_must_be_newer_and_of_this_master(refused):
    desired, _ = _desired(epoch=2)
    assert desired.assign(_assignment(2, epoch=2))

    assert not desired.assign(refused)
    assert desired.assign(_assignment(3, epoch=2))


def test_engines_are_told_nothing_before_both_registers_hold_something():
    desired, held = _desired()
    view = held.get(0, 1)

    assert desired.orders([view]) == []
    desired.offer(_common())
    assert desired.orders([view]) == []
    assert not desired.is_complete
    desired.assign(_assignment())
    assert desired.is_complete
    assert len(desired.orders([view])) == 1


@given(st.integers(1, 6), st.integers(1, 6))
def test_the_slots_of_all_workers_engines_are_all_slots_once(workers, engines):
    slots = []
    for worker in range(workers):
        desired, held = _desired(engines)
        desired.offer(_common())
        desired.assign(_assignment(slot=worker, slots=workers))
        told = desired.orders([held.get(engine, 1) for engine in range(engines)])
        assert {each.slots for each in told} == {workers * engines}
        slots += [each.slot for each in told]

    assert sorted(slots) == list(range(workers * engines))


def test_each_engine_is_told_its_own_grants_and_no_others():
    desired, held = _desired(2)
    desired.offer(_common())
    mine, others = Grant("iterations/a", 0, (range(10),), 2), Grant("feeder/b", 1, (range(5, 7), range(20, 22)), 0)
    desired.assign(_assignment(grants=(mine, others)))
    first, second = desired.orders([held.get(0, 1), held.get(1, 1)])

    assert (first.grants, second.grants) == ((mine,), (others,))


def test_a_start_waits_for_the_master_s_clock_and_does_not_move_afterwards():
    desired, held = _desired()
    desired.assign(_assignment())
    desired.offer(_common(order=RunOrder.RUNNING, start_at_ns=1_000))
    assert desired.orders([held.get(0, 1)]) == []

    assert desired.know_offset(300, 0)
    assert desired.orders([held.get(0, 1)])[0].start_at_ns == 700
    assert not desired.know_offset(320, 0)
    assert desired.orders([held.get(0, 1)])[0].start_at_ns == 700
    # Another revision with the same start, a STOPPED one say, means the same moment.
    desired.offer(_common(2, order=RunOrder.STOPPED, start_at_ns=1_000))
    assert desired.orders([held.get(0, 1)])[0].start_at_ns == 700


def test_no_engine_begins_with_what_a_master_before_has_assigned_and_one_that_has_begun_goes_on():
    desired, held = _desired(2)
    desired.assign(_assignment())
    begun, other = held.get(0, 1), held.get(1, 1)
    held.hear(begun, EngineStatus(EngineStage.RUNNING, users=1, applied_revision=0, is_starving=False, start_at_ns=9))
    desired.await_assignment()
    desired.change_epoch(2)
    desired.know_offset(0, 0)
    desired.offer(_common(epoch=2, order=RunOrder.RUNNING, start_at_ns=9))

    assert [order.engine for order in desired.orders([begun, other])] == [0]
    assert desired.assign(_assignment(epoch=2))
    assert [order.engine for order in desired.orders([begun, other])] == [0, 1]
    # Said again on another connection, it is no news, and may be waited for.
    assert not desired.assign(_assignment(epoch=2))
    desired.await_assignment()
    assert [order.engine for order in desired.orders([begun, other])] == [0]
    assert desired.assign(_assignment(epoch=2))
    assert [order.engine for order in desired.orders([begun, other])] == [0, 1]


def test_a_stop_waits_for_no_assignment():
    desired, held = _desired()
    desired.assign(_assignment())
    desired.await_assignment()
    desired.offer(_common(order=RunOrder.STOPPED))

    assert [order.run_order for order in desired.orders([held.get(0, 1)])] == [RunOrder.STOPPED]


def test_the_clock_of_another_master_is_not_that_of_the_last():
    desired, held = _desired()
    desired.assign(_assignment())
    desired.know_offset(300, 0)
    desired.change_epoch(2)
    desired.offer(_common(epoch=2, order=RunOrder.RUNNING, start_at_ns=1_000))

    assert desired.orders([held.get(0, 1)]) == []
    assert desired.know_offset(-500, 0)
    assert desired.orders([held.get(0, 1)])[0].start_at_ns == 1_500


def test_configurations_and_assignments_are_applied_when_every_engine_says_so():
    desired, held = _desired(2)
    desired.offer(_common(4))
    first = desired.revise()
    desired.assign(_assignment(9))
    second = desired.revise()

    _apply(held, 0, second)
    assert not desired.look_for_applied()
    _apply(held, 1, first)
    assert desired.look_for_applied()
    assert desired.applied == Held(Version(1, 4), "d")
    assert desired.applied_assignment == 0
    _apply(held, 1, second)
    assert desired.look_for_applied()
    assert desired.applied_assignment == 9
    assert not desired.look_for_applied()


def test_nothing_held_is_nothing_applied():
    desired, held = _desired()
    _apply(held, 0, 10**9)

    assert not desired.look_for_applied()
    assert desired.applied is None


def test_an_engine_that_has_ended_keeps_nobody_waiting():
    desired, held = _desired(2)
    desired.offer(_common())
    _apply(held, 0, 10**9)
    held.get(1, 1).process_end = ProcessEnd()

    assert desired.look_for_applied()


def test_a_stop_decided_here_overrides_every_later_configuration():
    desired, held = _desired()
    desired.assign(_assignment())
    desired.offer(_common())
    before = desired.orders([held.get(0, 1)])[0]
    assert desired.stop("lease", grace_ns=10)
    desired.offer(_common(2, order=RunOrder.RUNNING, start_at_ns=5, graceful_stop_ns=3))
    desired.know_offset(0, 0)
    told = desired.orders([held.get(0, 1)])[0]

    assert (told.run_order, told.stop_reason, told.graceful_stop_ns) == (RunOrder.STOPPED, "lease", 3)
    assert told.revision > before.revision


def test_a_stop_becomes_sooner_and_never_later():
    desired, _ = _desired()

    assert desired.stop("terminated", grace_ns=10)
    assert not desired.stop("again", grace_ns=10)
    assert not desired.stop("later", grace_ns=20)
    assert desired.stop("lease", grace_ns=0)
    assert desired.stop_reason == "terminated"


@pytest.mark.promise("master-restart")
def test_what_was_granted_in_all_is_known_however_often_it_is_said():
    held, *_ = _desired()
    first = Grant("iterations/a", 0, (range(10), range(20, 30)), 0, end=30)
    again = Grant("iterations/a", 0, (range(20, 30), range(50, 55)), 1, before=10, end=55)
    held.assign(_assignment(1, grants=(first,)))
    held.assign(_assignment(2, grants=(again, Grant("feeder/b", 0, (range(3),), 0, end=3))))
    held.assign(_assignment(2, grants=(Grant("feeder/b", 0, (range(9),), 0, end=9),)))
    newest = (range(20, 30), range(50, 55))
    assert held.granted == (Granted("iterations/a", 0, 3, 25, 55, newest), Granted("feeder/b", 0, 1, 3, 3, (range(3),)))


@pytest.mark.promise("master-restart")
def test_an_agent_that_was_started_again_knows_what_its_engines_were_granted_before():
    grants = Grants({"iterations/a": 1_000}, 1, 1)
    grants.open("iterations/a")
    news = GrantNews("iterations/a", known=1, left=0, per_second=200, waiting=1)
    grants.hear((0, 0), [news], living=[Place(0, 0)])
    before, *_ = _desired()
    before.assign(_assignment(1, grants=grants.of(0)[1]))
    grants.hear((0, 0), [replace(news, known=2, left=100, per_second=0, waiting=0)], living=[Place(0, 0)])
    after, *_ = _desired()
    after.assign(_assignment(2, grants=grants.of(0)[1]))
    [granted] = after.granted
    assert (granted.ranges, granted.numbers) == (2, grants.granted_to("iterations/a", 0))
    assert granted.end == 1_000 - (grants.left("iterations/a") or 0)


@pytest.mark.promise("master-restart", "run-iterations")
def test_what_no_engine_was_told_before_a_master_was_lost_the_next_one_tells_it():
    lost, after = Grants({"iterations/a": 1_000}, 1, 1), Grants({"iterations/a": 1_000}, 1, 1)
    lost.open("iterations/a")
    agent, engines = _desired()
    agent.assign(_assignment(1, grants=lost.of(0)[1]))
    view = engines.get(0, 1)
    assert agent.orders([view]) == [], "the configuration was not sent any more"

    after.await_words()
    after.learn(0, agent.granted, is_all=True)
    agent.change_epoch(2)
    agent.offer(_common(1, epoch=2))
    engine = EngineGrants()
    for version, heard in enumerate(("first", "again")):
        agent.assign(_assignment(version, epoch=2, grants=after.of(0)[1]))
        [[grant]] = [order.grants for order in agent.orders([view])]
        assert engine.extend(grant.first_range, grant.ranges) is (heard == "first")
    assert engine.left == lost.granted_to("iterations/a", 0) == after.granted_to("iterations/a", 0) > 0

    news = GrantNews("iterations/a", known=engine.known, left=engine.left, per_second=0, waiting=0)
    after.hear((0, 0), [news], living=[Place(0, 0)])
    [grant] = after.of(0)[1]
    assert (grant.ranges, grant.first_range, grant.before) == ((), 1, engine.left)


def test_a_start_by_the_clock_of_a_master_that_is_gone_is_not_read_from_that_of_the_next():
    desired, held = _desired()
    view = held.get(0, 1)
    desired.offer(_common(2, order=RunOrder.RUNNING, start_at_ns=1_000))
    desired.assign(_assignment())
    desired.change_epoch(2)

    desired.know_offset(900, 10)
    assert (desired.orders([view]), desired.start_ns) == ([], 0)
    desired.offer(_common(1, epoch=2, order=RunOrder.RUNNING, start_at_ns=1_500))
    assert [order.start_at_ns for order in desired.orders([view])] == [600]


def test_what_an_ended_engine_did_is_done_here_by_nobody():
    desired, held = _desired(2)
    first, second = Share(0, Lot(0, 2)), Share(1, Lot(1, 2))
    assert desired.shares == ()
    desired.assign(_assignment(shares=(first, second)))
    assert desired.shares == (first, second)
    held.get(0, 1).process_end = ProcessEnd()
    assert desired.shares == (second,)

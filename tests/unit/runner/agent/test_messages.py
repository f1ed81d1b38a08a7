import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.load.grant import Grant
from loadstone_core.load.lots import Lot, Share
from loadstone_core.register import Held, Version
from loadstone_core.stats.stream import Counters, StreamId
from loadstone_protocol.codec import WireError
from loadstone_protocol.coordination import word_from_message
from loadstone_protocol.messages import EngineEnd, EngineStage, Granted, Inheritance, Peer, RefusalCode, RunOrder
from loadstone_protocol.v1 import coordination_pb2 as cpb
from loadstone_protocol.v1 import engine_pb2 as epb
from loadstone_protocol.v1 import statistics_pb2 as spb
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR
from loadstone_runner.agent import messages
from loadstone_runner.agent.effects import Configure
from loadstone_runner.agent.ledger import Ledger


def _config(body: cpb.CommonBody, *, digest: bytes | None = None) -> cpb.Config:
    encoded = body.SerializeToString()
    return cpb.Config(
        version=cpb.Version(epoch=2, revision=3),
        sha256=hashlib.sha256(encoded).digest() if digest is None else digest,
        body=encoded,
    )


def test_a_configuration_is_read_and_its_digest_is_recomputed():
    body = cpb.CommonBody(run_state=epb.RUNNING_STATE, start_at_ns=5, script_digest="x", graceful_stop_ns=7)
    common = messages.common_from_message(_config(body))

    assert common.held.version == Version(2, 3)
    assert common.held.digest == hashlib.sha256(body.SerializeToString()).hexdigest()
    assert (common.is_intact, common.run_order, common.start_at_ns) == (True, RunOrder.RUNNING, 5)
    assert (common.script_digest, common.graceful_stop_ns, common.body) == ("x", 7, body.SerializeToString())
    assert not messages.common_from_message(_config(body, digest=b"other")).is_intact
    assert not common.is_kill
    assert messages.common_from_message(_config(cpb.CommonBody(run_state=epb.STOPPED_STATE, kill=True))).is_kill


@pytest.mark.parametrize(
    "body",
    [
        cpb.CommonBody(),
        cpb.CommonBody(run_state=99),
        cpb.CommonBody(run_state=epb.RUNNING_STATE),
        cpb.CommonBody(run_state=epb.READY_STATE, graceful_stop_ns=-1),
        cpb.CommonBody(run_state=epb.READY_STATE, start_at_ns=-(2**62)),
    ],
    ids=["no state", "unknown state", "running without a start", "negative grace", "negative start"],
)
def test_a_configuration_that_cannot_be_meant_is_refused(body):
    with pytest.raises(WireError):
        messages.common_from_message(_config(body))


def test_a_body_that_is_none_is_refused():
    with pytest.raises(WireError, match="body"):
        messages.common_from_message(cpb.Config(body=b"\xff\xff"))


@pytest.mark.parametrize(
    "assignment",
    [
        cpb.Assignment(version=0, slot=0, slots=1),
        cpb.Assignment(version=1, slot=1, slots=1),
        cpb.Assignment(version=1, slots=1, grants=[epb.Grant(ranges=[epb.IterationRange(start=1, count=0)])]),
        cpb.Assignment(
            version=1,
            slots=1,
            grants=[epb.Grant(ranges=[epb.IterationRange(start=5, count=2), epb.IterationRange(start=0, count=6)])],
        ),
    ],
    ids=["version 0", "slot too high", "empty range", "a number in two ranges"],
)
def test_an_assignment_that_cannot_be_meant_is_refused(assignment):
    with pytest.raises(WireError):
        messages.assignment_from_message(assignment)


def test_an_assignment_is_read():
    grant = epb.Grant(name="feeder/a", engine=1, ranges=[epb.IterationRange(start=4, count=2)], first_range=5)
    shares = [epb.Share(engine=1, index=2, parts=8, from_ns=9)]
    told = cpb.Assignment(epoch=1, version=2, slot=3, slots=4, grants=[grant], holding=7, shares=shares)

    grants = (Grant("feeder/a", 1, (range(4, 6),), 5),)
    assert messages.assignment_from_message(told) == (1, 2, 3, 4, grants, 7, (Share(1, Lot(2, 8), 9),))


@pytest.mark.parametrize("fields", [{"index": 2, "parts": 2}, {"parts": 0}, {"parts": 1, "from_ns": -1}])
def test_a_share_that_is_none_is_refused(fields):
    with pytest.raises(WireError):
        messages.assignment_from_message(cpb.Assignment(version=1, slots=1, holding=1, shares=[epb.Share(**fields)]))


def test_refusals_and_stages_of_later_versions_are_taken_for_the_safest():
    assert messages.refusal_from_message(cpb.Refused(code=cpb.Refused.FENCED)) is RefusalCode.FENCED
    assert messages.refusal_from_message(cpb.Refused(code=77)) is RefusalCode.UNEXPECTED
    assert messages.status_from_message(epb.EngineStatus(stage=77)).stage is EngineStage.LOADING


def test_a_start_at_an_impossible_moment_is_none():
    told = [messages.status_from_message(epb.EngineStatus(start_at_ns=each)) for each in (-(2**62), -5, 7, 2**62)]
    assert [each.start_at_ns for each in told] == [0, -5, 7, 0]


series = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 2**40), max_size=3)


@given(st.lists(series, min_size=1, max_size=6))
def test_what_the_ledger_keeps_is_one_whole_state_with_the_newest_of_everything(changes):
    ledger = Ledger()
    newest = {}
    for sequence, counts in enumerate(changes, start=1):
        state = spb.StreamState(
            stream=spb.StreamId(worker=1, attempt=1, engine=0, start=1),
            sequence=sequence,
            second=sequence - 1,
            counters=spb.Counters(started=sequence),
            errors=[spb.ErrorCount(kind="k", count=sequence)],
            users=sequence,
            final=sequence == len(changes),
            first_start_ns=17,
        )
        for name, count in counts.items():
            state.series.append(
                spb.SeriesState(
                    key=spb.SeriesKey(metric="latency", name=name, labels=[spb.Label(name="l", value="v")]),
                    kind=spb.KIND_TREND,
                    count=count,
                    index_deltas=[1, 2],
                    counts=[1, count],
                )
            )
            newest[name] = state.series[-1]
        ledger.put(messages.piece_of(state))
        last = state
    whole = messages.whole_state(ledger).state
    whole.ClearField("history")

    assert {each.key.name: each for each in whole.series} == newest
    assert whole.full
    del whole.series[:]
    whole.full = False
    del last.series[:]
    assert whole == last


def test_a_state_without_a_sequence_is_refused():
    with pytest.raises(WireError):
        messages.piece_of(spb.StreamState())


def test_an_engine_is_told_load_and_setup_as_they_came():
    body = cpb.CommonBody(
        run_state=epb.READY_STATE, scenarios=[epb.LoadPlan(model=epb.RATE, iterations=5)], setup_json=b"[1]"
    ).SerializeToString()
    told = Configure(
        engine=0,
        start=1,
        revision=9,
        body=body,
        run_order=RunOrder.STOPPED,
        start_at_ns=1,
        slot=2,
        slots=3,
        grants=(Grant("iterations/a", 0, (range(5, 7),), 4),),
        stop_reason="because",
        graceful_stop_ns=8,
    )

    assert messages.config_message(told, worker=6, attempt=2).config == epb.EngineConfig(
        revision=9,
        scenarios=[epb.LoadPlan(model=epb.RATE, iterations=5)],
        run_state=epb.STOPPED_STATE,
        start_at_ns=1,
        slot=2,
        slots=3,
        grants=[epb.Grant(name="iterations/a", ranges=[epb.IterationRange(start=5, count=2)], first_range=4)],
        stop_reason="because",
        graceful_stop_ns=8,
        setup_json=b"[1]",
        worker=6,
        attempt=2,
    )


def test_an_end_says_whether_its_counters_are_known():
    end = EngineEnd(
        stream=StreamId(1, 2, 3, 4),
        is_clean=False,
        counters=None,
        exit_code=-1,
        signal=9,
        tail="x" * 10_000 + "end",
        is_out_of_memory=True,
        final_sequence=5,
    )
    message = messages.end_message(end)

    assert not message.counters_known
    assert (message.exit_code, message.signal, message.out_of_memory, message.final_sequence) == (-1, 9, True, 5)
    assert len(message.tail) == messages.TAIL_MAX
    assert message.tail.endswith("end")


def test_counters_and_versions_travel_when_there_are_any():
    end = EngineEnd(
        stream=StreamId(1, 2, 3, 4),
        is_clean=True,
        counters=Counters(started=7),
        exit_code=0,
        signal=0,
        tail="",
        is_out_of_memory=False,
        final_sequence=1,
    )

    bye = messages.bye_message([end], "ended").bye
    assert bye.engines[0].counters_known
    assert bye.engines[0].counters.started == 7
    assert messages.version_message(None) is None
    assert messages.version_message(Held(Version(1, 2), "d")) == cpb.Version(epoch=1, revision=2)


def test_hello_names_the_protocol_and_what_is_applied():
    peer = Peer("uid/1", 2, 3, "boot", "pod", 7, "m")
    hello = messages.hello_message(
        peer, version="1.2", script_digest="sha256:x", engines=4, applied=Held(Version(1, 2), "d"), highest_epoch=5
    ).hello

    assert hello.peer == cpb.Peer(
        run_uid="uid/1", worker=2, attempt=3, boot="boot", pod="pod", started_ns=7, machine_boot="m"
    )
    assert (hello.protocol_major, hello.protocol_minor) == (PROTOCOL_MAJOR, PROTOCOL_MINOR)
    assert (hello.version, hello.script_digest, hello.engines, hello.highest_epoch) == ("1.2", "sha256:x", 4, 5)
    assert hello.applied == cpb.Version(epoch=1, revision=2)


def test_questions_and_answers_carry_their_numbers():
    assert messages.ping_message(7).ping.sent_ns == 7
    assert messages.received_message(8).ack.received == 8


@pytest.mark.parametrize("first_start_ns", [2**62, -(2**62), -(2**63), 2**63 - 1])
def test_a_load_that_began_at_no_moment_of_a_clock_is_refused(first_start_ns: int) -> None:
    with pytest.raises(WireError, match="no such moment"):
        messages.piece_of(spb.StreamState(sequence=1, first_start_ns=first_start_ns))


@pytest.mark.parametrize(("sent_ns", "master_ns"), [(-1, 5), (11, 5), (1, -5), (1, 2**62)])
def test_a_pong_of_impossible_moments_is_refused(sent_ns: int, master_ns: int) -> None:
    pong = cpb.Pong(sent_ns=sent_ns, master_ns=master_ns)
    with pytest.raises(WireError, match="two clocks"):
        messages.trip_from_message(pong, received_ns=10)


@pytest.mark.promise("master-restart")
def test_what_an_agent_says_that_its_engines_were_granted_is_what_the_next_master_reads():
    granted = (Granted("iterations/a", 0, 3, 25, 55, (range(20, 30), range(50, 55))), Granted("feeder/b", 1, 1, 3, 3))
    word = word_from_message(messages.inheritance_message(None, -1, granted, (Share(1, Lot(0, 2)),)))
    assert word == Inheritance(None, -1, granted, shares=(Share(1, Lot(0, 2)),))

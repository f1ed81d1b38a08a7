from __future__ import annotations

import hashlib
from typing import Any, cast

import pytest

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.register import Version
from loadstone_protocol import coordination
from loadstone_protocol.codec import WireError
from loadstone_protocol.messages import Bye, Granted, Heartbeat, Inheritance, LogEnd, Ping, RunOrder
from loadstone_protocol.v1 import control_pb2, engine_pb2
from loadstone_protocol.v1 import coordination_pb2 as pb

PEER = pb.Peer(run_uid="u/1", worker=2, attempt=1, boot="b", pod="pod-2")


def hello(**changes: Any) -> pb.AgentMessage:
    fields: dict[str, Any] = {"peer": PEER, "protocol_major": 1, "script_digest": "sha256:00", "engines": 1, **changes}
    return pb.AgentMessage(hello=pb.Hello(**fields))


def test_a_hello_is_read_and_one_without_a_name_is_refused() -> None:
    assert coordination.hello_from_message(hello()).peer.worker == 2
    for bad in (
        pb.AgentMessage(),
        pb.AgentMessage(ping=pb.Ping()),
        hello(engines=0),
        hello(peer=pb.Peer(worker=2, attempt=1, boot="b")),
        hello(peer=pb.Peer(run_uid="u/1", boot="b")),
    ):
        with pytest.raises(WireError):
            coordination.hello_from_message(bad)


def test_a_heartbeat_is_read_whole() -> None:
    status = engine_pb2.EngineStatus(stage=engine_pb2.EngineStatus.RUNNING, users=4, loop_lag_ns=5)
    engine = pb.EngineSummary(
        engine=1, start=2, status=status, script=engine_pb2.ScriptReport(ok=False, problem="p", preflight_failed=True)
    )
    beat = pb.Heartbeat(
        number=7,
        applied=pb.Version(epoch=1, revision=2),
        applied_sha256=bytes(32),
        engines=[engine, engine],
        conflict=True,
        conflict_detail="other digest",
    )
    word = coordination.word_from_message(pb.AgentMessage(heartbeat=beat))

    assert isinstance(word, Heartbeat)
    assert (word.applied, word.applied_digest) == (Version(1, 2), "00" * 32)
    assert (word.users, word.conflict) == (8, "other digest")
    assert word.engines[0].script is not None
    assert (word.engines[0].script.describe(), word.engines[0].script.is_preflight) == ("p", True)


@pytest.mark.parametrize(
    "beat",
    [
        pb.Heartbeat(),
        pb.Heartbeat(number=1, applied=pb.Version(epoch=1, revision=1), applied_sha256=b"short"),
        pb.Heartbeat(number=1, engines=[pb.EngineSummary()] * 1025),
        pb.Heartbeat(number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(stage=cast("Any", 99)))]),
        pb.Heartbeat(number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(loop_lag_ns=-1))]),
        pb.Heartbeat(number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(grants=[{}]))]),
        pb.Heartbeat(
            number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(grants=[{"name": "a" * 257}]))]
        ),
        pb.Heartbeat(
            number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(grants=[{"name": "feeder/a"}] * 129))]
        ),
        pb.Heartbeat(number=1, engines=[pb.EngineSummary(started_at_ns=-(2**62))]),
        # What is made of these would be in no message to anybody, also not to those that have not said it.
        pb.Heartbeat(number=1, engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(users=2**31))] * 2),
        *(
            pb.Heartbeat(
                number=1,
                engines=[pb.EngineSummary(status=engine_pb2.EngineStatus(grants=[{"name": "feeder/a", said: number}]))],
            )
            for said, number in (("per_second", 2**31), ("known", 2**60), ("left", 2**60), ("rows", 2**60))
        ),
    ],
)
def test_a_heartbeat_that_cannot_be_meant_is_refused(beat: pb.Heartbeat) -> None:
    with pytest.raises(WireError):
        coordination.word_from_message(pb.AgentMessage(heartbeat=beat))


def test_other_words_are_read_and_nothing_at_all_is_refused() -> None:
    end = pb.EngineEnd(stream={"worker": 2, "attempt": 1, "engine": 0, "start": 1}, tail="x" * 10_000, signal=9)
    bye = coordination.word_from_message(pb.AgentMessage(bye=pb.Bye(engines=[end], reason="terminated")))

    assert isinstance(bye, Bye)
    assert (bye.engines[0].counters, len(bye.engines[0].tail)) == (None, coordination.TEXT_MAX)
    assert coordination.word_from_message(pb.AgentMessage(engine_end=end)) == bye.engines[0]
    assert coordination.word_from_message(pb.AgentMessage(ping=pb.Ping(sent_ns=3))) == Ping(3)
    beyond = pb.EngineEnd(stream=end.stream, signal=2**31)
    for bad in (pb.AgentMessage(), pb.AgentMessage(engine_end=pb.EngineEnd()), pb.AgentMessage(engine_end=beyond)):
        with pytest.raises(WireError):
            coordination.word_from_message(bad)


def log_end(**changes: Any) -> pb.AgentMessage:
    fields: dict[str, Any] = {
        "boot": "b",
        "start": 1,
        "fd": 2,
        "ended": True,
        "lines": 3,
        "bytes": 30,
        "lost_lines": 1,
        "lost_bytes": 10,
        "sha256": bytes(32),
        **changes,
    }
    return pb.AgentMessage(bye=pb.Bye(logs=[pb.LogEnd(**fields)]))


def test_a_bye_says_what_was_written_to_the_log() -> None:
    bye = coordination.word_from_message(log_end())
    assert isinstance(bye, Bye)
    assert bye.logs == (
        LogEnd(
            boot="b",
            engine=0,
            start=1,
            fd=2,
            has_ended=True,
            lines=3,
            size=30,
            lost_lines=1,
            lost_size=10,
            digest=bytes(32),
        ),
    )
    unknown = coordination.word_from_message(log_end(ended=False))
    assert isinstance(unknown, Bye)
    assert unknown.logs == (LogEnd(boot="b", engine=0, start=1, fd=2, has_ended=False),)
    for bad in (
        log_end(boot=""),
        log_end(boot="x" * 65),
        log_end(start=0),
        log_end(fd=3),
        log_end(lost_lines=4),
        log_end(lost_bytes=31),
        log_end(sha256=b"short"),
        pb.AgentMessage(bye=pb.Bye(logs=[pb.LogEnd()] * 5_000)),
    ):
        with pytest.raises(WireError):
            coordination.word_from_message(bad)


def test_steering_needs_a_revision_and_a_known_reason() -> None:
    told = control_pb2.Steering(
        revision=3, stop=True, stop_reason="Stopped", ended=[{"worker": 1, "reason": "Evicted"}]
    )
    steering = coordination.steering_from_message(told)

    assert (steering.revision, steering.stop_reason, steering.ended[0].reason) == (3, "Stopped", "Evicted")
    assert coordination.steering_from_message(control_pb2.Steering(revision=1)).stop_reason is None
    for bad in (control_pb2.Steering(), control_pb2.Steering(revision=1, stop=True, stop_reason="Bored")):
        with pytest.raises(WireError):
            coordination.steering_from_message(bad)


def test_a_configuration_carries_the_digest_of_exactly_its_bytes() -> None:
    load = LoadProfile(Model.USERS, Profile((Segment(0, 5, 1, 1),), 5), None)
    order = [Scenario(name="default", load=load, graceful_stop_ns=9, target="http://shop")]
    body = coordination.common_body(
        RunOrder.RUNNING, order, script_digest="d", start_at_ns=4, stop_reason="", graceful_stop_ns=9, setup_json=b"1"
    )
    message = coordination.config_message(Version(1, 2), body).config

    assert message.sha256 == hashlib.sha256(message.body).digest()
    read = pb.CommonBody.FromString(message.body)
    assert (read.run_state, read.start_at_ns, read.scenarios[0].target) == (engine_pb2.RUNNING_STATE, 4, "http://shop")


@pytest.mark.promise("master-restart")
def test_an_inheritance_is_read_and_one_that_cannot_be_meant_is_refused() -> None:
    body = pb.CommonBody(setup_json=b"{}", memory=b"m").SerializeToString()
    config = pb.Config(version=pb.Version(epoch=1, revision=4), sha256=hashlib.sha256(body).digest(), body=body)
    latest = [engine_pb2.IterationRange(start=25, count=15)]
    granted = [pb.Granted(name="feeder/a", engine=1, ranges=2, numbers=20, end=40, latest=latest)]
    told = coordination.word_from_message(
        pb.AgentMessage(inheritance=pb.Inheritance(config=config, since_start_ns=5, granted=granted))
    )
    assert told == Inheritance(Version(1, 4), 5, (Granted("feeder/a", 1, 2, 20, 40, (range(25, 40),)),), b"{}", b"m")
    assert coordination.word_from_message(pb.AgentMessage(inheritance=pb.Inheritance())) == Inheritance(None, 0, ())
    unread = pb.Config(version=pb.Version(epoch=1, revision=4), sha256=hashlib.sha256(b"\xff").digest(), body=b"\xff")
    for bad in (
        pb.Inheritance(config=pb.Config(version=config.version, sha256=b"x" * 32, body=body)),
        pb.Inheritance(config=unread),
        pb.Inheritance(since_start_ns=2**62),
        pb.Inheritance(since_start_ns=-(2**62)),
        pb.Inheritance(granted=[pb.Granted(name="")]),
        pb.Inheritance(granted=[pb.Granted(name="a", engine=5_000)]),
        pb.Inheritance(granted=[pb.Granted(name="a", ranges=0, numbers=15, latest=latest)]),
        pb.Inheritance(granted=[pb.Granted(name="a", ranges=1, numbers=14, latest=latest)]),
        pb.Inheritance(granted=[pb.Granted(name="a", ranges=1, numbers=15, end=2**60)]),
        pb.Inheritance(granted=[pb.Granted(name="a", ranges=1, numbers=2**50, latest=[{"start": 2**53, "count": 1}])]),
    ):
        with pytest.raises(WireError):
            coordination.word_from_message(pb.AgentMessage(inheritance=bad))

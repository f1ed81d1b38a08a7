"""Whatever an engine writes where processes are asked for, the launcher goes on."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadstone_runner.launcher.lanes import LaneStarter

if TYPE_CHECKING:
    from collections.abc import Mapping


def never(_environment: Mapping[str, str]) -> int:
    raise AssertionError("a process was started")


@pytest.mark.parametrize("request_text", [b"{}", b"[]", b"3", b"\xff", b"{", b'{"lane": ', b"x" * 4_096])
def test_requests_that_cannot_be_meant_start_nothing_and_leave_no_descriptor_open(request_text: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    starter = LaneStarter(never, {})
    starter.hear(ours, engine=1)
    before = len(list(Path("/proc/self/fd").iterdir()))

    for given in ([0, 1, 2], [0], [], [0] * 5):
        socket.send_fds(theirs, [request_text], given)
        starter.start_some(set(starter.descriptors))
    starter.start_some(set(starter.descriptors))

    assert not list(starter.processes)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    theirs.close()
    starter.start_some(set(starter.descriptors))
    assert starter.descriptors == ()


def test_an_engine_that_asks_without_end_is_not_answered_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadstone_runner.launcher.lanes.STARTS_MAX", 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    starter = LaneStarter(never, {})
    starter.hear(ours, engine=1)

    with theirs:
        socket.send_fds(theirs, [b'{"lane": "a"}'], [0, 1, 2])
        starter.start_some(set(starter.descriptors))

    assert not list(starter.processes)
    starter.start_some(set(starter.descriptors))

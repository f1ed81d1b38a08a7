from __future__ import annotations

import pytest

from loadstone_runner.settings import (
    Address,
    ControlSettings,
    SettingsError,
    read_agent,
    read_engine,
    read_launcher,
    read_master,
)

AGENT = {"LOADSTONE_RUN_UID": "u/1", "LOADSTONE_EPOCH": "1", "LOADSTONE_WORKER": "0", "LOADSTONE_MASTER": "m:8650"}


def test_a_master_needs_nothing_to_be_told() -> None:
    settings = read_master({})

    assert (settings.listen, settings.metrics) == (Address("0.0.0.0", 8650), Address("0.0.0.0", 8651))
    assert (settings.linger_seconds, settings.hold_seconds) == (30.0, 900.0)
    assert read_master({"LOADSTONE_METRICS": ""}).metrics is None
    assert (settings.attempts, read_master({"LOADSTONE_ATTEMPTS": "3:2,7:4"}).attempts) == ({}, {3: 2, 7: 4})


def test_an_agent_is_told_who_it_is() -> None:
    settings = read_agent({**AGENT, "LOADSTONE_MASTER": "[::1]:9"})

    assert (settings.run_uid, settings.worker, settings.attempt) == ("u/1", 0, 1)
    assert (settings.master, str(settings.master)) == (Address("::1", 9), "[::1]:9")


def test_launcher_and_engine_read_their_role_and_target() -> None:
    assert read_launcher({"LOADSTONE_TARGET": "http://t"}).target == "http://t"
    assert read_launcher({}).engine_role == "engine"
    engine = read_engine({"LOADSTONE_ENGINE": "2", "LOADSTONE_START": "3", "LOADSTONE_ENGINE_ROLE": "director"})
    assert (engine.engine, engine.start, engine.engine_role) == (2, 3, "director")
    assert (engine.engines, engine.is_one_machine, engine.memory_limit_bytes) == (1, False, 0)
    beside = read_engine(
        {"LOADSTONE_ENGINES": "4", "LOADSTONE_ONE_MACHINE": "1", "LOADSTONE_MEMORY_LIMIT": str(1 << 40)}
    )
    assert (beside.engines, beside.is_one_machine, beside.memory_limit_bytes) == (4, True, 1 << 40)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUN_UID", ""),
        ("EPOCH", "0"),
        ("WORKER", "-1"),
        ("WORKER", "1_0"),
        ("ENGINES", "99999999999"),
        ("MASTER", "host"),
        ("MASTER", ":80"),
        ("MASTER", "host:99999"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"LOADSTONE_{name} "):
        read_agent({**AGENT, f"LOADSTONE_{name}": value})


def test_seconds_and_roles_are_checked() -> None:
    for bad in ("soon", "-1", "nan"):
        with pytest.raises(SettingsError, match="LOADSTONE_HOLD_SECONDS"):
            read_master({"LOADSTONE_HOLD_SECONDS": bad})
    for bad in ("3", "3:x", "3:2:1"):
        with pytest.raises(SettingsError, match="LOADSTONE_ATTEMPTS"):
            read_master({"LOADSTONE_ATTEMPTS": bad})
    with pytest.raises(SettingsError, match="engine or director"):
        read_engine({"LOADSTONE_ENGINE_ROLE": "boss"})


CONTROL = {"LOADSTONE_CONTROL": "0.0.0.0:1", "LOADSTONE_CONTROL_GRPC": "0.0.0.0:2", "LOADSTONE_CONTROL_TOKEN": "t \n"}


def test_platforms_are_let_in_where_a_token_is_told() -> None:
    assert read_master({}).control is None
    assert read_master(CONTROL).control == ControlSettings(Address("0.0.0.0", 1), Address("0.0.0.0", 2), "t")


@pytest.mark.parametrize("token", ["", " ", "t\x00t", "gehäuse"])
def test_platforms_are_not_let_in_by_a_token_that_nobody_can_say(token: str) -> None:
    with pytest.raises(SettingsError, match="LOADSTONE_CONTROL_TOKEN"):
        read_master({**CONTROL, "LOADSTONE_CONTROL_TOKEN": token})

"""What each process is told by its environment, read once. Nothing here looks at the real environment or a file.

Named tuples, as the launcher starts in milliseconds and `dataclasses` alone would double that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "LOADSTONE_"
# The process with which one of a local run ends.
PARENT: Final = "LOADSTONE_PARENT"
# Of the lines between a launcher and whoever it answers to. Fields are only added; a change of meaning is a new number.
LAUNCHER_PROTOCOL: Final = 1

_WORD_MAX: Final = 2**32 - 1
_BYTES_MAX: Final = 2**63 - 1


class SettingsError(Exception):
    """A variable is missing or wrong; the message names it and says what it should be."""


class Address(NamedTuple):
    """Where to listen or connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ControlSettings(NamedTuple):
    """Where platforms are let in, and what they have to say for it."""

    rest: Address
    grpc: Address
    token: str


class MasterSettings(NamedTuple):
    """The master's surroundings; durations are seconds."""

    run_file: str
    script_dir: str
    listen: Address
    metrics: Address | None
    socket_dir: str
    state_dir: str
    termination_file: str
    linger_seconds: float
    hold_seconds: float
    epoch: int  # 0 = that of the plan
    has_successor: bool  # when this one is told to leave, somebody makes another
    is_sole: bool  # every master of the run before this one is known to have ended
    has_begun: bool  # one before had ordered the load to begin
    attempts: Mapping[int, int]  # of workers whose pods were made more than once before this master
    workers: int  # that are wanted when this master begins; 0 = as many as were planned
    workers_made: int  # that were wanted at any time before; 0 = no more than those
    tls_dir: str  # with certificate, key and authority; "" = TLS is off
    log_dir: str  # of its director
    control: ControlSettings | None


class AgentSettings(NamedTuple):
    """Which worker an agent is, and its surroundings."""

    run_uid: str
    epoch: int
    worker: int
    attempt: int
    pod: str
    master: Address
    script_dir: str
    entrypoint: str
    metrics: Address | None
    socket_dir: str
    termination_file: str
    engines: int
    tls_dir: str  # as in MasterSettings
    log_dir: str


class LauncherSettings(NamedTuple):
    """How many of which engine a launcher starts."""

    socket_dir: str
    engines: int
    engine_role: str  # "engine" or "director"
    script_dir: str
    entrypoint: str
    target: str  # "" = none
    log_dir: str  # where what engines print waits until the master has it


class LogSettings(NamedTuple):
    """What of a master's log is shown."""

    state_dir: str  # of the master
    tail: int  # lines; -1 = all that is kept
    follow: bool


class EngineSettings(NamedTuple):
    """What one engine or director is told by its launcher."""

    socket_dir: str
    engine: int
    start: int
    engine_role: str
    script_dir: str
    entrypoint: str
    target: str
    engines: int  # of its worker
    is_one_machine: bool  # all workers of the run are on it
    memory_limit_bytes: int  # of all engines of its worker together; 0 = none is known
    launcher_fd: int = 0  # where it asks for processes of its own; 0 = there is no launcher


class LaneSettings(NamedTuple):
    """What the process of one message handler is told by its launcher."""

    lane: str
    script_dir: str
    entrypoint: str
    engine_fd: int  # the way to its engine


def read_master(environment: Mapping[str, str]) -> MasterSettings:
    """Return the master's settings; raise SettingsError for the first variable that is wrong."""
    return MasterSettings(
        run_file=_text(environment, "RUN_FILE", "/etc/loadstone/run.json"),
        script_dir=_text(environment, "SCRIPT_DIR", "/scripts"),
        listen=_address(environment, "LISTEN", "0.0.0.0:8650"),
        metrics=_optional_address(environment, "METRICS", "0.0.0.0:8651"),
        socket_dir=_text(environment, "SOCKET_DIR", "/run/loadstone"),
        state_dir=_text(environment, "STATE_DIR", "/var/lib/loadstone"),
        termination_file=_text(environment, "TERMINATION_FILE", "/dev/termination-log"),
        linger_seconds=_seconds(environment, "LINGER_SECONDS", "30"),
        hold_seconds=_seconds(environment, "HOLD_SECONDS", "900"),
        epoch=_number(environment, "EPOCH", "0", at_least=0),
        has_successor=_number(environment, "HAS_SUCCESSOR", "0", at_least=0) > 0,
        is_sole=_number(environment, "IS_SOLE", "1", at_least=0) > 0,
        has_begun=_number(environment, "HAS_BEGUN", "0", at_least=0) > 0,
        attempts=_attempts(environment),
        workers=_number(environment, "WORKERS", "0", at_least=0),
        workers_made=_number(environment, "WORKERS_MADE", "0", at_least=0),
        tls_dir=environment.get(f"{PREFIX}TLS_DIR", ""),
        log_dir=_log_dir(environment),
        control=_control(environment),
    )


def read_agent(environment: Mapping[str, str]) -> AgentSettings:
    """Return an agent's settings; raise SettingsError for the first variable that is wrong."""
    return AgentSettings(
        run_uid=_text(environment, "RUN_UID"),
        epoch=_number(environment, "EPOCH", at_least=1),
        worker=_number(environment, "WORKER", at_least=0),
        attempt=_number(environment, "ATTEMPT", "1", at_least=1),
        pod=_text(environment, "POD", "-"),
        master=_address(environment, "MASTER"),
        script_dir=_text(environment, "SCRIPT_DIR", "/scripts"),
        entrypoint=_text(environment, "ENTRYPOINT", "test.py"),
        metrics=_optional_address(environment, "METRICS", "0.0.0.0:8651"),
        socket_dir=_text(environment, "SOCKET_DIR", "/run/loadstone"),
        termination_file=_text(environment, "TERMINATION_FILE", "/dev/termination-log"),
        engines=_number(environment, "ENGINES", "1", at_least=1),
        tls_dir=environment.get(f"{PREFIX}TLS_DIR", ""),
        log_dir=_log_dir(environment),
    )


def read_launcher(environment: Mapping[str, str]) -> LauncherSettings:
    """Return a launcher's settings; raise SettingsError for the first variable that is wrong."""
    return LauncherSettings(
        socket_dir=_text(environment, "SOCKET_DIR", "/run/loadstone"),
        engines=_number(environment, "ENGINES", "1", at_least=1),
        engine_role=_role(environment),
        script_dir=_text(environment, "SCRIPT_DIR", "/scripts"),
        entrypoint=_text(environment, "ENTRYPOINT", "test.py"),
        target=environment.get(f"{PREFIX}TARGET", ""),
        log_dir=_log_dir(environment),
    )


def read_engine(environment: Mapping[str, str]) -> EngineSettings:
    """Return an engine's or director's settings; raise SettingsError for the first variable that is wrong."""
    return EngineSettings(
        socket_dir=_text(environment, "SOCKET_DIR", "/run/loadstone"),
        engine=_number(environment, "ENGINE", "0", at_least=0),
        start=_number(environment, "START", "1", at_least=1),
        engine_role=_role(environment),
        script_dir=_text(environment, "SCRIPT_DIR", "/scripts"),
        entrypoint=_text(environment, "ENTRYPOINT", "test.py"),
        target=environment.get(f"{PREFIX}TARGET", ""),
        engines=_number(environment, "ENGINES", "1", at_least=1),
        is_one_machine=_number(environment, "ONE_MACHINE", "0", at_least=0) > 0,
        memory_limit_bytes=_number(environment, "MEMORY_LIMIT", "0", at_least=0, at_most=_BYTES_MAX),
        launcher_fd=_number(environment, "LAUNCHER_FD", "0", at_least=0),
    )


def read_lane(environment: Mapping[str, str]) -> LaneSettings:
    """Return the settings of a handler's process; raise SettingsError for the first variable that is wrong."""
    return LaneSettings(
        lane=_text(environment, "LANE"),
        script_dir=_text(environment, "SCRIPT_DIR", "/scripts"),
        entrypoint=_text(environment, "ENTRYPOINT", "test.py"),
        engine_fd=_number(environment, "LAUNCHER_FD", at_least=3),
    )


def _control(environment: Mapping[str, str]) -> ControlSettings | None:
    """Return how platforms are let in; None where they are not."""
    rest = _optional_address(environment, "CONTROL", "")
    if rest is None:
        return None
    token = _text(environment, "CONTROL_TOKEN").strip()
    if not (token and token.isascii() and token.isprintable()):
        raise SettingsError(f"{PREFIX}CONTROL_TOKEN, the value of spec.control.tokenSecret, must be printable ASCII")
    return ControlSettings(rest, _address(environment, "CONTROL_GRPC"), token)


def read_logs(environment: Mapping[str, str]) -> LogSettings:
    """Return what of a master's log is shown; raise SettingsError for the first variable that is wrong."""
    return LogSettings(
        state_dir=_text(environment, "STATE_DIR", "/var/lib/loadstone"),
        tail=_number(environment, "TAIL", at_least=0) if environment.get(f"{PREFIX}TAIL") else -1,
        follow=_number(environment, "FOLLOW", "0", at_least=0) > 0,
    )


def _log_dir(environment: Mapping[str, str]) -> str:
    return environment.get(f"{PREFIX}LOG_DIR", "") or _text(environment, "SOCKET_DIR", "/run/loadstone") + "/log"


def _text(environment: Mapping[str, str], name: str, default: str = "") -> str:
    value = environment.get(PREFIX + name, default)
    if not value:
        raise SettingsError(f"{PREFIX}{name} is not set")
    return value


def _number(
    environment: Mapping[str, str], name: str, default: str = "", *, at_least: int, at_most: int = _WORD_MAX
) -> int:
    value = _text(environment, name, default)
    # int() also takes signs, underscores and other scripts' digits.
    if not (value.isascii() and value.isdigit()) or not at_least <= int(value) <= at_most:
        raise SettingsError(f"{PREFIX}{name} must be a whole number from {at_least} on, not {value!r}")
    return int(value)


def _attempts(environment: Mapping[str, str]) -> dict[int, int]:
    """Return what WORKER:ATTEMPT,WORKER:ATTEMPT says."""
    value = environment.get(f"{PREFIX}ATTEMPTS", "")
    try:
        pairs = [pair.split(":") for pair in value.split(",") if pair]
        return {int(worker): int(attempt) for worker, attempt in pairs}
    except ValueError as error:
        raise SettingsError(f"{PREFIX}ATTEMPTS must be WORKER:ATTEMPT,..., not {value!r}") from error


def _seconds(environment: Mapping[str, str], name: str, default: str) -> float:
    value = _text(environment, name, default)
    try:
        seconds = float(value)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name} must be seconds, not {value!r}") from error
    if not 0 <= seconds <= _WORD_MAX:
        raise SettingsError(f"{PREFIX}{name} must be seconds from 0 on, not {value!r}")
    return seconds


def _address(environment: Mapping[str, str], name: str, default: str = "") -> Address:
    return _parse_address(name, _text(environment, name, default))


def _optional_address(environment: Mapping[str, str], name: str, default: str) -> Address | None:
    value = environment.get(PREFIX + name, default)
    return _parse_address(name, value) if value else None


def _parse_address(name: str, value: str) -> Address:
    host, colon, port = value.rpartition(":")
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535  # noqa: PLR2004 the last TCP port
    if not (host and colon and is_port):
        raise SettingsError(f"{PREFIX}{name} must be host:port, not {value!r}")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _role(environment: Mapping[str, str]) -> str:
    role = _text(environment, "ENGINE_ROLE", "engine")
    if role not in {"engine", "director"}:
        raise SettingsError(f"{PREFIX}ENGINE_ROLE must be engine or director, not {role!r}")
    return role

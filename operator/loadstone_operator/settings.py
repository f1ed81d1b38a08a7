"""What an installation tells its operator, read once from the environment. Nothing here looks at the real one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.errors import UserError
from loadstone_operator import naming
from loadstone_operator.capacity import Limits
from loadstone_operator.manifests.order import Access, RunnerDefaults

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "LOADSTONE_"

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(UserError):
    """A variable is missing or wrong; the message names it and says what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One installation.

    Attributes:
        namespace: of the operator itself, where its Lease is.
        identity: who holds the Lease; a restarted container is the same holder.
        watch_namespaces: which namespaces are served; empty for all.
        authority_name: of the Secret, in the same namespace, with what certificates are signed with.
    """

    namespace: str
    identity: str
    watch_namespaces: tuple[str, ...]
    runner: RunnerDefaults
    limits: Limits
    log_level: str
    lease_name: str
    authority_name: str
    metrics_port: int
    probes_port: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings; raise SettingsError for the first variable that is wrong."""
    watched = environment.get(f"{PREFIX}WATCH_NAMESPACES", "")
    level = environment.get(f"{PREFIX}LOG_LEVEL", "INFO").upper()
    if level not in _LEVELS:
        raise SettingsError(f"{PREFIX}LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {level!r}")
    return Settings(
        namespace=_text(environment, "NAMESPACE"),
        identity=_text(environment, "POD_NAME"),
        watch_namespaces=tuple(sorted({name.strip() for name in watched.split(",")} - {""})),
        runner=RunnerDefaults(
            image=_text(environment, "RUNNER_IMAGE"),
            pull_policy=environment.get(f"{PREFIX}RUNNER_IMAGE_PULL_POLICY") or "IfNotPresent",
            pull_secrets=tuple(environment.get(f"{PREFIX}RUNNER_PULL_SECRETS", "").split()),
            engine_resources=_object(environment, "ENGINE_RESOURCES") or None,
            access=_access(environment),
        ),
        limits=Limits(
            workers_per_test=_number(environment, "LIMIT_WORKERS_PER_TEST", 0),
            total_workers=_number(environment, "LIMIT_TOTAL_WORKERS", 0),
            users=_number(environment, "LIMIT_USERS", 0),
        ),
        log_level=level,
        lease_name=environment.get(f"{PREFIX}LEASE") or "loadstone-operator",
        authority_name=environment.get(f"{PREFIX}AUTHORITY") or "loadstone-authority",
        metrics_port=_number(environment, "METRICS_PORT", naming.PORT_METRICS),
        probes_port=_number(environment, "PROBES_PORT", naming.PORT_PROBES),
    )


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(PREFIX + name, "")
    if not value:
        raise SettingsError(f"{PREFIX}{name} is not set")
    return value


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(PREFIX + name) or str(default)
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(f"{PREFIX}{name} must be a whole number from 0 on, not {value!r}")
    return int(value)


def _access(environment: Mapping[str, str]) -> Access | None:
    peers = _object(environment, "NETWORK_POLICY")
    if not peers:
        return None
    known = {"operator", "metrics"}
    if peers.keys() != known or not all(isinstance(each, list) for each in peers.values()):
        raise SettingsError(f"{PREFIX}NETWORK_POLICY must hold a list for each of: {', '.join(sorted(known))}")
    return Access(operator=tuple(peers["operator"]), metrics=tuple(peers["metrics"]))


def _object(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    text = environment.get(PREFIX + name, "")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name} must be a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{PREFIX}{name} must be a JSON object, not {text!r}")
    return found

"""Bring together everything that a run's objects are made from, and make its plan. Pure."""

from __future__ import annotations

import posixpath
from base64 import b64decode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from loadstone_core.plan.model import RunIdentity, ScriptRef
from loadstone_core.plan.planner import plan_run
from loadstone_core.spec.digest import files_digest, spec_digest
from loadstone_core.spec.model import ConfigMapSource, ImageSource, InlineSource, Tls
from loadstone_operator import naming
from loadstone_operator.actions import NOTHING_PAST, Past
from loadstone_operator.manifests.resources import engines_for, resources_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone_core.plan.model import RunPlan
    from loadstone_core.spec.model import LoadTest

SCRIPT_DIRECTORY: Final = "/scripts"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach a run's ports besides its own pods, as NetworkPolicyPeers: the operator, and who scrapes."""

    operator: tuple[Mapping[str, Any], ...]
    metrics: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RunnerDefaults:
    """What a run gets that its spec does not name: image, pull policy, pull secrets, resources of an engine.

    Attributes:
        access: who else may reach its ports; None: no NetworkPolicy is made.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    engine_resources: Mapping[str, Any] | None = None
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class RunOrder:
    """One run to be made.

    Attributes:
        uid: of the LoadTest.
        files: the script by path; empty when it is part of the image.
        resources: of the container with the engines.
        authority: who signs for the run; empty before that is known, or where TLS is off.
        past: for a master that is to be made, what is known of the run.
    """

    uid: str
    loadtest: LoadTest
    plan: RunPlan
    files: Mapping[str, bytes]
    runner: RunnerDefaults
    resources: Mapping[str, Any]
    authority: str = ""
    past: Past = NOTHING_PAST

    @property
    def image(self) -> str:
        """Return the runner image."""
        return self.loadtest.spec.image or self.runner.image

    @property
    def pull_policy(self) -> str:
        """Return when the image is pulled."""
        return self.loadtest.spec.image_pull_policy or self.runner.pull_policy

    @property
    def run(self) -> int:
        """Return the run's number."""
        return self.plan.run.number

    @property
    def epoch(self) -> int:
        """Return the number of the run's master."""
        return self.plan.run.epoch

    def leased(self, lease_ns: int) -> RunOrder:
        """Return the order with the lease under which its workers make load, whatever the spec says since."""
        return replace(self, plan=replace(self.plan, lease_ns=lease_ns))

    def signed_by(self, authority: str) -> RunOrder:
        """Return the order with who signs for it; empty where TLS is off.

        A run that has pods goes on with them as it began, whatever the spec says since.
        """
        tls = Tls.MUTUAL if authority else Tls.DISABLED
        return replace(self, authority=authority, plan=replace(self.plan, tls=tls))


class SourceMissing(Exception):  # noqa: N818 a state of the world that may pass
    """The script is not where the spec says; the message says what to do."""


def script_files(loadtest: LoadTest, config_map: Mapping[str, Any] | None) -> dict[str, bytes]:
    """Return the script's files by path: from the spec itself, or from the ConfigMap that it names.

    Raises:
        SourceMissing: the ConfigMap, a key of it or the entrypoint is not there.
    """
    source = loadtest.spec.source
    match source.kind:
        case InlineSource(content=content, files=files):
            return {path: text.encode() for path, text in {**files, source.entrypoint: content}.items()}
        case ConfigMapSource(name=name, items=items):
            return _from_config_map(loadtest.namespace, name, items, config_map, source.entrypoint)
        case ImageSource():
            return {}


def make_order(
    loadtest: LoadTest,
    *,
    uid: str,
    run: int,
    epoch: int,
    files: Mapping[str, bytes],
    runner: RunnerDefaults,
) -> RunOrder:
    """Return the order of one run, with its plan."""
    identity = RunIdentity(
        uid=naming.run_uid(uid, run),
        loadtest=loadtest.name,
        namespace=loadtest.namespace,
        number=run,
        epoch=epoch,
    )
    resources = resources_for(loadtest.spec.workers.template.get("resources"), runner.engine_resources)
    plan = plan_run(
        loadtest.spec,
        identity,
        spec_digest=spec_digest(loadtest.raw_spec),
        script=_script(loadtest, files),
        engines_per_worker=engines_for(loadtest.spec.workers.template.get("resources")),
    )
    return RunOrder(uid, loadtest, plan, dict(files), runner, resources)


def _script(loadtest: LoadTest, files: Mapping[str, bytes]) -> ScriptRef:
    entrypoint = loadtest.spec.source.entrypoint
    if files:
        return ScriptRef(digest=files_digest(files), directory=SCRIPT_DIRECTORY, entrypoint=entrypoint)
    directory, name = posixpath.split(entrypoint)
    return ScriptRef(digest=None, directory=directory, entrypoint=name)


def _from_config_map(
    namespace: str,
    name: str,
    items: tuple[tuple[str, str], ...],
    config_map: Mapping[str, Any] | None,
    entrypoint: str,
) -> dict[str, bytes]:
    where = f"ConfigMap {name} in namespace {namespace}"
    if config_map is None:
        raise SourceMissing(f"{where} does not exist; create it, or correct spec.source.configMap.name.")
    held = _contents(config_map)
    missing = [key for key, _ in items if key not in held]
    if missing:
        raise SourceMissing(
            f"{where} has no key {', '.join(missing)} (it has: {', '.join(sorted(held)) or 'none'}); "
            "add it, or correct spec.source.configMap.items."
        )
    files = {path: held[key] for key, path in items} if items else held
    if entrypoint not in files:
        raise SourceMissing(
            f"{where} has no file {entrypoint} to run (it has: {', '.join(sorted(files)) or 'none'}); "
            "add it, or set spec.source.entrypoint."
        )
    return files


def _contents(config_map: Mapping[str, Any]) -> dict[str, bytes]:
    held = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    held.update({key: b64decode(text) for key, text in (config_map.get("binaryData") or {}).items()})
    return held

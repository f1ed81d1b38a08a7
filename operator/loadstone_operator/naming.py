"""Name and label everything that the operator makes. Pure; no other module may spell a name or a label key.

Names are deterministic, so that making an object twice is answered by the API server and not by luck.
"""

from __future__ import annotations

import hashlib
from typing import Final

GROUP: Final = "loadstone.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LoadTest"
PLURAL: Final = "loadtests"
CLASS_PLURAL: Final = "loadtestclasses"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
LABEL_TEST: Final = f"{GROUP}/loadtest"
LABEL_UID: Final = f"{GROUP}/loadtest-uid"
LABEL_RUN: Final = f"{GROUP}/run"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_WORKER: Final = f"{GROUP}/worker"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_EPOCH: Final = f"{GROUP}/epoch"
# "true" on a master when every one of its run before it was known to have ended.
LABEL_SOLE: Final = f"{GROUP}/sole"
# Who has signed the certificates of a run; without it its TLS is off.
LABEL_AUTHORITY: Final = f"{GROUP}/authority"
# For how long its worker makes load without a word of the master, as the run was planned (`transport.lease`).
LABEL_LEASE: Final = f"{GROUP}/lease"

ANNOTATION_LAST_RUN: Final = f"{GROUP}/last-run"

ROLE_MASTER: Final = "master"
ROLE_WORKER: Final = "worker"

MANAGED_SELECTOR: Final = f"{MANAGED_BY}=loadstone,{LABEL_ROLE}"
FIELD_MANAGER: Final = "loadstone-operator"

PORT_GRPC: Final = 8650
PORT_METRICS: Final = 8651
PORT_PROBES: Final = 8652
PORT_CONTROL: Final = 8653
PORT_CONTROL_GRPC: Final = 8654

# How many workers' certificates are in one Secret: 0.8 KiB each, and 1 MiB is the most.
TLS_WORKERS: Final = 500

# A pod's name becomes its host name, and a Service's name a DNS label.
_LONGEST: Final = 63


def master_pod(test: str, run: int, *, epoch: int) -> str:
    """Return the name of the master's pod."""
    return _fit(f"{test}-m-{run}-{epoch}")


def worker_pod(test: str, run: int, *, index: int, attempt: int) -> str:
    """Return the name of a worker's pod."""
    return _fit(f"{test}-w-{run}-{index}-{attempt}")


def service(test: str, run: int) -> str:
    """Return the name of the run's headless Service, which must begin with a letter."""
    name = f"{test}-{run}"
    return _fit(name if name[0].isalpha() else f"lt-{name}")


def secret(test: str, run: int, *, uid: str) -> str:
    """Return the name of the run's Secret.

    The operator may create Secrets and not read them, so the name must never be one that somebody else chose.
    """
    return _fit(f"{test}-s-{run}-{uid[:8]}")


def tls_secret(test: str, run: int, *, uid: str, authority: str, worker: int = 0) -> str:
    """Return the name of the Secret with the certificate of a worker; the master's is in the first.

    What a Secret can hold is less than what 5,000 workers need. The authority is in the name, so that no pod mixes what
    two of them have signed.
    """
    return _fit(f"{test}-t-{run}-{uid[:8]}-{authority}-{worker // TLS_WORKERS}")


def worker_tls_secret(test: str, run: int, *, uid: str, authority: str, worker: int) -> str:
    """Return the name of the Secret with the certificate of a worker that was added to a run: one for each of them."""
    return _fit(f"{test}-t-{run}-{uid[:8]}-{authority}-w{worker}")


def report(test: str) -> str:
    """Return the name of the ConfigMap with the latest run's report."""
    return _fit(f"{test}-report")


def event(test: str, uid: str, *, run: int, reason: str, detail: str = "") -> str:
    """Return the name of an Event, the same for the same story: telling it twice is a conflict, not a repetition."""
    digest = hashlib.sha256(f"{uid}/{run}/{reason}/{detail}".encode()).hexdigest()[:16]
    return f"{test}.{digest}"


def run_uid(uid: str, run: int) -> str:
    """Return the identity of one run in the protocol."""
    return f"{uid}/{run}"


def child_labels(test: str, uid: str, *, run: int, component: str) -> dict[str, str]:
    """Return the labels that every child carries."""
    return {
        MANAGED_BY: "loadstone",
        "app.kubernetes.io/name": "loadstone",
        COMPONENT: component,
        LABEL_TEST: test,
        LABEL_UID: uid,
        LABEL_RUN: str(run),
    }


def worker_selector(uid: str, run: int) -> str:
    """Return the label selector of a run's workers, as `status.workers.selector` has it."""
    return f"{LABEL_UID}={uid},{LABEL_RUN}={run},{LABEL_ROLE}={ROLE_WORKER}"


def last_run_mark(uid: str, digest: str, trigger: str | None) -> str:
    """Return what the annotation says of the last run: `UID/digest of the spec/hash of the handled trigger`."""
    return f"{uid}/{digest.removeprefix('sha256:')[:12]}/{trigger_mark(trigger)}"


def trigger_mark(trigger: str | None) -> str:
    """Return a short name of a trigger, whose own text may be long or hold slashes."""
    return hashlib.sha256(trigger.encode()).hexdigest()[:8] if trigger is not None else "-"


def _fit(name: str) -> str:
    """Return the name, or its beginning with a hash of the whole when it is too long for a DNS label."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - 9].rstrip('-')}-{digest}"

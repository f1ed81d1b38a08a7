"""What every end-to-end test works with: kubectl, a namespace, and a target in it that counts its own requests."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import reading
import yaml

MANIFESTS = Path(__file__).parent / "manifests"
OPERATOR_NAMESPACE = "loadstone-system"

TARGET = """
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop}}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  # Where the operator is: the other node may be frozen.
  affinity:
    podAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          labelSelector: {matchLabels: {app.kubernetes.io/component: operator}}
          namespaces: [loadstone-system]
          topologyKey: kubernetes.io/hostname
  containers:
  - name: target
    image: localhost/loadstone-target:dev
    imagePullPolicy: Never
    args: [--host, 0.0.0.0, --port, "8800"]
    ports: [{containerPort: 8800}]
    resources: {requests: {cpu: 50m, memory: 48Mi}, limits: {cpu: "2", memory: 256Mi}}
    readinessProbe: {httpGet: {path: /healthz, port: 8800}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8800}]}
"""


def kubectl(
    *arguments: str, stdin: str | None = None, check: bool = True, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run kubectl; AssertionError with what it said if it fails and `check` is set, TimeoutExpired after `seconds`."""
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done


def until(what: str, look: Callable[[], Any], *, seconds: float = 30.0, step: float = 0.1) -> Any:
    """Return the first true answer of `look`; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; last answer: {answer!r}"
        time.sleep(step)


def is_untouched(status: dict[str, Any]) -> bool:
    """Say whether a run went its way, from its only start to its end."""
    return status["reason"] == "Passed" and status["run"]["number"] == 1


class Lab:
    """One namespace: a target in it, and LoadTests that are applied to it."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return kubectl("-n", self.namespace, *arguments, stdin=stdin, check=check)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def manifest(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return a manifest of this folder; `changes` are spec fields by path with `__` for dots."""
        document = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
        for path, value in changes.items():
            place = document["spec"]
            *way, last = path.split("__")
            for step in way:
                place = place.setdefault(step, {})
            place[last] = value
        return document

    def apply(self, document: dict[str, Any] | str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        return self.kubectl("apply", "-f", "-", stdin=text, check=check)

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        self.kubectl("patch", "loadtest", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def status(self, name: str) -> dict[str, Any]:
        path = f"/apis/loadstone.dev/v1alpha1/namespaces/{self.namespace}/loadtests/{name}"
        return reading.get(path).get("status", {})

    def start(self, duration: str = "12s", **changes: Any) -> None:
        """Apply the manifest `pass`, and return when it makes load."""
        self.apply(self.manifest("pass", load__duration=duration, **changes))
        self.wait_phase("pass", "Running")
        self.wait_requests("pass", 50)

    def wait_phase(self, name: str, *phases: str, seconds: float = 40.0) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            status = self.status(name)
            return status if status.get("phase") in phases else None

        return until(f"{name} in {phases}", look, seconds=seconds)

    def wait_finished(self, name: str, *, seconds: float = 90.0) -> dict[str, Any]:
        """Wait as a pipeline does, then return the status."""
        wait = ("wait", f"loadtest/{name}", "--for=jsonpath={.status.finished}=true", f"--timeout={int(seconds)}s")
        kubectl("-n", self.namespace, *wait, seconds=seconds + 30)
        return self.status(name)

    def wait_requests(self, name: str, at_least: int = 1) -> None:
        until(f"{at_least} requests of {name}", lambda: self.count() >= at_least, seconds=60)

    def pods(self, name: str, role: str | None = None) -> list[dict[str, Any]]:
        selector = f"loadstone.dev/loadtest={name}" + (f",loadstone.dev/role={role}" if role else "")
        return reading.get(f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={quote(selector)}")["items"]

    def children(self, name: str) -> list[str]:
        """Return what exists of a LoadTest beside itself, as kind/name."""
        found = self.json("pods,services,configmaps,secrets", "-l", f"loadstone.dev/loadtest={name}")
        return [f"{item['kind']}/{item['metadata']['name']}" for item in found["items"]]

    def target(self, path: str) -> Any:
        """Ask the target itself, through the API server's proxy."""
        return reading.get(f"/api/v1/namespaces/{self.namespace}/pods/shop:8800/proxy{path}")

    def reset_target(self) -> None:
        """Let the target count from zero."""
        kubectl(
            "create", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/shop:8800/proxy/reset", "-f", "-", stdin=""
        )

    def count(self) -> int:
        """Return how many requests the target has counted."""
        return int(self.target("/count")["requests"])

    def is_quiet(self) -> bool:
        """Look for two seconds whether the target gets no request."""
        before = self.count()
        time.sleep(2.0)
        return self.count() == before

    def seconds_to_silence(self, since: float) -> float:
        """Return how long after a moment of time.monotonic() the target got its last request, of runs that all end."""
        counts: list[tuple[float, int]] = []

        def is_silent() -> bool:
            counts.append((time.monotonic(), self.count()))
            at_last = counts[-1][0]
            return at_last - counts[0][0] > 3 and len({count for at, count in counts if at > at_last - 3}) == 1

        until("the target gets no request", is_silent, seconds=60)
        last = counts[-1][1]
        return next(at for at, count in counts if count == last) - since

    def check_exact(self, status: dict[str, Any]) -> None:
        """Assert that the status says what the target counted (SEMANTICS: exact when nothing is ambiguous)."""
        results, counted = status["results"], self.count()
        assert results["requests"] - results["unsent"] - results["ambiguous"] <= counted, (results, counted)
        assert counted <= results["started"] - results["unsent"], (results, counted)
        assert results["ambiguous"] or results["unaccounted"] or results["requests"] - results["unsent"] == counted

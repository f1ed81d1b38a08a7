"""Every example on the cluster, as it is in the repository but for shorter loads, exact against a target of its own."""

import base64
import gzip
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from abreast import Abreast
from catalogue import CATALOGUE, EXAMPLES, Example, Outcome, Places
from lab import TARGET, Lab, kubectl

from loadstone_cli.documents import read_documents, with_settings

PLACES = Places(
    target="http://shop",
    tls_target="https://shop",
    keyvalue="shop:6379",
    proxy="http://proxy:3128",
    certificates="/tls",
    image="localhost/loadstone-scripts:dev",
)
_NUMBERS = itertools.count(1)  # a namespace that is on its way out cannot be used again
PIPELINE, PROXY = "pipeline", "proxy"
promise = pytest.mark.promise


@promise("examples", "exact-totals")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", CATALOGUE, ids=lambda example: example.id)
def test_an_example_ends_as_its_header_says_and_shows_what_it_is_for(runs, example) -> None:
    example.check(runs.outcome(example))


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory) -> Iterator[Abreast]:
    """Start the chosen examples, a few at a time, each in a namespace of its own."""
    certificates = tmp_path_factory.mktemp("certificates")
    subprocess.run([sys.executable, EXAMPLES / "target" / "certificates.py", certificates, "shop"], check=True)
    with Abreast(partial(run_there, certificates=certificates), request, at_once=3) as started:
        yield started


def run_there(example: Example, *, certificates: Path) -> Outcome:
    """Apply an example, wait for its end as a pipeline does, and return what it has left behind."""
    lab = Lab(f"example-{example.id}-{os.getpid()}-{next(_NUMBERS)}")
    documents = changed(example)
    (test,) = (each for each in documents if each["kind"] == "LoadTest")
    try:
        found = [*surroundings(lab.namespace, certificates, has_proxy=example.name == PROXY)]
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(found))
        lab.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s")
        if example.name == PIPELINE:
            run_pipeline(lab, documents, certificates.parent / example.id)
        else:
            lab.apply(yaml.safe_dump_all(documents))
        status = lab.wait_finished(test["metadata"]["name"], seconds=100)
        proxied = asked_of_proxy(lab) if example.name == PROXY else {}
        packed = lab.json("configmap", status["report"])["binaryData"]["report.json.gz"]
        report = json.loads(gzip.decompress(base64.b64decode(packed)))
        return Outcome(status, report, lab.target("/count"), proxied)
    finally:
        kubectl("delete", "namespace", lab.namespace, "--wait=false", check=False)


def asked_of_proxy(lab: Lab) -> dict[str, Any]:
    """Return what the proxy counted, and its address, which is the only one that the target has seen."""
    path = f"/api/v1/namespaces/{lab.namespace}/pods/proxy:3128/proxy/count"
    return {**json.loads(kubectl("get", "--raw", path).stdout), "address": lab.json("pod", "proxy")["status"]["podIP"]}


def run_pipeline(lab: Lab, documents: list[dict[str, Any]], file: Path) -> None:
    """Run the example's shell script twice for one commit: the second time it starts nothing and says the same."""
    file.write_text(yaml.safe_dump_all(documents))
    for _ in range(2):
        done = subprocess.run(
            [EXAMPLES / "pipeline.sh", file, "3f2a9c1"],
            env={**os.environ, "NAMESPACE": lab.namespace},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        # Whether that is the verdict that it should be is judged with the others.
        status = lab.status(PIPELINE)
        assert done.returncode == status["exitCode"], done.stdout + done.stderr
        assert f"{status['verdict']}: " in done.stdout
    assert (status["run"]["number"], status["lastHandledTrigger"]) == (1, "3f2a9c1"), status["run"]


def changed(example: Example) -> list[dict[str, Any]]:
    """Return the documents of an example with its settings, made as `loadstone run --set` makes them."""
    documents = read_documents(example.file)
    settings = tuple(PLACES.fill(each) for each in (*example.settings, *example.cluster))
    return [(with_settings(each, settings) if each.is_loadtest else each).body for each in documents]


def surroundings(namespace: str, certificates: Path, *, has_proxy: bool) -> Iterator[dict[str, Any]]:
    """Yield what an example finds in its namespace: the shop, a proxy, an authority and a certificate."""
    files = {path.name: path.read_text() for path in certificates.iterdir()}
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    for name, kind, data in (
        ("shop-tls", "Secret", files),
        ("shop-client", "Secret", {"tls.crt": files["client.crt"], "tls.key": files["client.key"]}),
        ("shop-ca", "ConfigMap", {"ca.crt": files["ca.crt"]}),
    ):
        key = "stringData" if kind == "Secret" else "data"
        metadata = {"name": name, "namespace": namespace}
        yield {"apiVersion": "v1", "kind": kind, "metadata": metadata, key: data}
    shop = ["server.py", "--port", "8800", "--tls-port", "8443", "--tls-folder", "/tls", "--keyvalue-port", "6379"]
    yield from server("shop", namespace, command=shop, ports={80: 8800, 443: 8443, 6379: 6379})
    if has_proxy:
        yield from server("proxy", namespace, command=["proxy.py", "--port", "3128"], ports={3128: 3128})


def server(name: str, namespace: str, *, command: list[str], ports: dict[int, int]) -> Iterator[dict[str, Any]]:
    """Yield a pod of the target's image that runs one of its programs, and its Service."""
    pod, service = yaml.safe_load_all(TARGET)
    pod["metadata"] = {"name": name, "namespace": namespace, "labels": {"app": name}}
    (container,) = pod["spec"]["containers"]
    program, *arguments = command
    container["command"] = ["/venv/bin/python", f"/target/{program}", "--host", "0.0.0.0", *arguments]
    del container["args"]
    container["ports"] = [{"containerPort": port} for port in ports.values()]
    container["readinessProbe"] = {"tcpSocket": {"port": next(iter(ports.values()))}, "periodSeconds": 1}
    container["volumeMounts"] = [{"name": "tls", "mountPath": "/tls"}]
    pod["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "shop-tls"}}]
    yield pod
    service["metadata"] = {"name": name, "namespace": namespace}
    service["spec"] = {
        "selector": {"app": name},
        "ports": [{"name": f"p{port}", "port": port, "targetPort": inner} for port, inner in ports.items()],
    }
    yield service

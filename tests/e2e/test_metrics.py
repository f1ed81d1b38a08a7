"""A real Prometheus in the cluster finds the pods by their annotations and returns the totals of the status."""

import json
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest
from lab import kubectl, until

promise = pytest.mark.promise

# Debian builds its Prometheus without the discovery of Kubernetes. So the test lists the pods, gives them the very
# labels that this discovery would, and the rules below choose by annotation, as those of a cluster do.
CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: pods
  file_sd_configs: [{files: ["%(targets)s"], refresh_interval: 1s}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: "true"}
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], target_label: __metrics_path__, regex: (.+)}
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    separator: ":"
    target_label: __address__
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
"""


def discovered() -> list[dict]:
    """Return every pod with an address as a target, labelled as the discovery of Kubernetes labels it."""
    pods = json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json").stdout)["items"]
    targets = []
    for pod in pods:
        metadata, address = pod["metadata"], pod["status"].get("podIP")
        if not address or pod["status"]["phase"] != "Running":
            continue
        labels = {
            "__meta_kubernetes_namespace": metadata["namespace"],
            "__meta_kubernetes_pod_name": metadata["name"],
            "__meta_kubernetes_pod_ip": address,
        }
        for name, value in metadata.get("annotations", {}).items():
            clean = "".join(letter if letter.isalnum() else "_" for letter in name)
            labels[f"__meta_kubernetes_pod_annotation_{clean}"] = value
        targets.append({"targets": [address], "labels": labels})
    return targets


@pytest.fixture
def prometheus(tmp_path):
    """Start Debian's Prometheus inside the cluster's network; give a function that queries it."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is missing: tests/e2e/cluster/cluster deps provides it"
    targets, config = tmp_path / "targets.json", tmp_path / "prometheus.yml"
    targets.write_text("[]")
    config.write_text(CONFIG % {"targets": targets})
    over = threading.Event()

    def discover() -> None:
        while not over.wait(0.5):
            fresh = tmp_path / "targets.new"
            fresh.write_text(json.dumps(discovered()))
            fresh.replace(targets)

    discovery = threading.Thread(target=discover)
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path}/data",
        "--web.listen-address=127.0.0.1:9390",
    ]
    with (tmp_path / "prometheus.log").open("w") as log, subprocess.Popen([binary, *arguments], stderr=log) as process:
        discovery.start()
        yield query
        over.set()
        discovery.join()
        process.terminate()


def query(expression: str) -> list[dict]:
    url = "http://127.0.0.1:9390/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return json.load(reply)["data"]["result"]
    except OSError:
        return []


@promise("metrics-match")
def test_prometheus_returns_the_same_total_as_the_status(lab, prometheus) -> None:
    lab.apply(lab.manifest("pass"))
    status = lab.wait_finished("pass")
    requests = status["results"]["requests"]
    mine = f'loadtest="pass",namespace="{lab.namespace}"'

    def total(metric: str) -> int | None:
        found = prometheus(f"sum(last_over_time({metric}{{{mine}}}[5m]))")
        return int(float(found[0]["value"][1])) if found else None

    until("Prometheus has the last value", lambda: total("loadstone_requests_total") == requests, seconds=40)
    assert requests == lab.count()
    assert total("loadstone_request_duration_seconds_count") == requests
    assert prometheus("count(last_over_time(loadstone_agent_heartbeats_total[5m]))")
    assert prometheus("loadstone_operator_reconciles_total")

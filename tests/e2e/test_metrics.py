"""A real Prometheus in the cluster finds the pods by their annotations and returns the totals of the status."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request

import pytest
from lab import until

promise = pytest.mark.promise

CONFIG = """
global: {scrape_interval: 1s}
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{role: pod, kubeconfig_file: "%(kubeconfig)s"}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: "true"}
  - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
    separator: ":"
    target_label: __address__
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
"""


@pytest.fixture
def prometheus(tmp_path, monkeypatch):
    """Start Debian's Prometheus inside the cluster's network; give a function that queries it."""
    import os

    binary = shutil.which("prometheus")
    assert binary, "prometheus is missing: tests/e2e/cluster/cluster deps installs it"
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG % {"kubeconfig": os.environ["KUBECONFIG"]})
    log = (tmp_path / "prometheus.log").open("w")
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            "--web.listen-address=127.0.0.1:9390",
        ],
        stdout=log,
        stderr=log,
    )

    def query(expression: str) -> list[dict]:
        url = "http://127.0.0.1:9390/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return json.load(reply)["data"]["result"]
        except OSError:
            return []

    yield query
    process.terminate()
    process.wait(timeout=20)
    log.close()


@promise("metrics-match")
def test_prometheus_returns_the_same_total_as_the_status(lab, prometheus) -> None:
    lab.apply(lab.manifest("pass"))
    status = lab.wait_finished("pass")
    requests = status["results"]["requests"]
    expression = f'sum(last_over_time(loadstone_requests_total{{loadtest="pass",namespace="{lab.namespace}"}}[5m]))'

    def total() -> int | None:
        found = prometheus(expression)
        return int(float(found[0]["value"][1])) if found else None

    until("Prometheus has the last value", lambda: total() == requests, seconds=40)
    assert requests == lab.count()
    buckets = prometheus(
        f'sum(last_over_time(loadstone_request_duration_seconds_count{{namespace="{lab.namespace}"}}[5m]))'
    )
    assert int(float(buckets[0]["value"][1])) == requests
    assert prometheus("count(last_over_time(loadstone_agent_heartbeats_total[5m]))")
    assert prometheus("loadstone_operator_reconciles_total")

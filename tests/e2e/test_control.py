"""A platform watches a run at its master, with the token of a Secret; without that Secret nothing starts."""

import base64
import secrets

import pytest
from lab import until

from loadstone_client import Refused, connect

promise = pytest.mark.promise


@promise("control-api", "exact-totals")
def test_a_platform_with_the_token_of_the_secret_watches_a_run_and_nobody_else_does(lab) -> None:
    token = secrets.token_urlsafe()
    data = {"token": base64.b64encode(token.encode()).decode()}
    lab.apply(f"{{apiVersion: v1, kind: Secret, metadata: {{name: platform}}, data: {data}}}")
    lab.apply(lab.manifest("pass", control__tokenSecret__name="platform"))

    def address() -> str | None:
        pods = lab.pods("pass", "master")
        return pods[0]["status"].get("podIP") if pods else None

    url = f"http://{until('the master has an address', address)}:8653"
    run = connect(url, token=token)
    watch = run.watch()
    rows = [next(watch)]
    with pytest.raises(Refused, match="tokenSecret"):
        connect(url, token="guess").state()
    with pytest.raises(Refused, match="only through the LoadTest"):
        run.stop()
    rows += watch

    status = lab.wait_finished("pass")
    lab.check_exact(status)
    assert sum(row.requests for row in rows) == status["results"]["requests"] == lab.count() > 0
    assert [row.second for row in rows] == list(range(len(rows)))
    assert token not in lab.kubectl("get", "loadtest,pods,configmaps,events", "-o", "json").stdout


@promise("control-api", "source-missing")
def test_a_secret_that_is_missing_is_named(lab) -> None:
    lab.apply(lab.manifest("pass", control__tokenSecret__name="no-such-secret"))

    status = lab.wait_finished("pass")

    assert (status["verdict"], status["reason"]) == ("Error", "SourceNotFound"), status
    assert "no-such-secret" in status["message"]
    assert "spec.control" in status["message"]

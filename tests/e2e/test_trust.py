"""Who talks to whom in a run, on a real cluster: certificates, what of them can be seen, and who has no token."""

import asyncio
import base64
import json
from typing import Any

import pytest
from lab import OPERATOR_NAMESPACE, Lab, is_untouched, kubectl, until

from loadstone_protocol.follower import Follower, MasterRefused, MasterUnreachable
from loadstone_protocol.identity import Pems

promise = pytest.mark.promise
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def secret_data(secret: dict[str, Any]) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in secret["data"].items()}


def certificates(lab: Lab) -> dict[str, bytes]:
    (secret,) = lab.json("secrets", "-l", "app.kubernetes.io/component=tls")["items"]
    assert secret["immutable"]
    return secret_data(secret)


def telltales(data: dict[str, bytes]) -> set[str]:
    """Return what would betray a private key: each line of it, and the same as a Secret spells it."""
    keys = [pem for name, pem in data.items() if name.endswith(".key")]
    assert keys
    lines = {line for pem in keys for line in pem.decode().splitlines() if not line.startswith("-----")}
    return lines | {base64.b64encode(pem).decode()[60:120] for pem in keys}


def hears(lab: Lab, *, pems: Pems | None) -> bool:
    """Say whether the master tells its run to somebody who shows this."""
    (pod,) = lab.pods("pass", "master")
    run_uid = f"{pod['metadata']['labels']['loadstone.dev/loadtest-uid']}/1"

    async def ask() -> bool:
        follower = Follower(f"{pod['status']['podIP']}:8650", run_uid, 1, pems=pems)
        try:
            async with asyncio.timeout(30):
                async for _ in follower.watch():
                    return True
        except (MasterRefused, MasterUnreachable):
            return False
        finally:
            await follower.close()
        return False

    return asyncio.run(ask())


def whatever_can_be_seen(lab: Lab) -> str:
    """Return what stands in resources and logs of a namespace and of the operator; Secrets are for those who may."""
    kinds = "loadtests,pods,services,configmaps,events,networkpolicies"
    seen = [json.dumps(lab.json(kinds))]
    seen += [lab.kubectl("logs", pod["metadata"]["name"], "--all-containers").stdout for pod in lab.pods("pass")]
    seen.append(kubectl("-n", OPERATOR_NAMESPACE, "logs", "deployment/loadstone").stdout)
    seen.append(kubectl("-n", OPERATOR_NAMESPACE, "get", "pods,events,deployments", "-o", "json").stdout)
    return "\n".join(seen)


@pytest.mark.telling
@promise("mutual-tls", "keys-unseen", "no-token", "network-policy")
def test_a_run_shows_its_keys_to_nobody_and_its_master_talks_to_nobody_else(lab) -> None:
    lab.apply(lab.manifest("pass", load__duration="8s"))
    lab.wait_requests("pass")
    data = certificates(lab)
    workers = lab.pods("pass", "worker")
    assert set(data) == {"ca.crt", "master.crt", "master.key"} | {
        f"worker-{index}.{kind}" for index in range(len(workers)) for kind in ("crt", "key")
    }
    assert not hears(lab, pems=None)
    assert not hears(lab, pems=Pems(data["ca.crt"], data["worker-0.crt"], data["worker-0.key"]))
    for pod in lab.pods("pass"):
        (user_code,) = (each["name"] for each in pod["spec"]["containers"])
        inside = ("exec", pod["metadata"]["name"], "-c", user_code, "--", "ls")
        assert "test.py" in lab.kubectl(*inside, "/scripts").stdout
        found = lab.kubectl(*inside, "/etc/loadstone-tls", TOKEN, check=False)
        assert found.returncode
        assert found.stdout == ""
    (policy,) = lab.json("networkpolicies", "-l", "loadstone.dev/loadtest=pass")["items"]
    assert [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]] == [8650, 8651]

    status = lab.wait_finished("pass")
    assert is_untouched(status)
    lab.check_exact(status)
    kept = kubectl("-n", OPERATOR_NAMESPACE, "get", "secret", "loadstone-authority", "-o", "json").stdout
    authority = json.loads(kept)
    seen = whatever_can_be_seen(lab)
    assert "loadstone-tls" in seen
    for secret in (data, secret_data(authority)):
        assert not [each for each in telltales(secret) if each in seen]
        assert "PRIVATE KEY" not in seen


@promise("mutual-tls")
def test_without_tls_a_run_passes_and_its_master_asks_nobody_who_he_is(lab) -> None:
    lab.apply(lab.manifest("pass", load__duration="4s", transport={"tls": "Disabled"}))
    until("a master", lambda: lab.pods("pass", "master") and lab.pods("pass", "master")[0]["status"].get("podIP"))
    until("the master tells its run", lambda: hears(lab, pems=None))
    assert not lab.json("secrets", "-l", "app.kubernetes.io/component=tls")["items"]

    assert is_untouched(lab.wait_finished("pass"))

"""Workers that are added to a run and taken away by its scale subresource: the totals stay exact, the load as asked."""

import pytest
from lab import Lab, until

promise = pytest.mark.promise


class Watched:
    """A run of the manifest `pass`, and the most users that its status has shown."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.most_users = 0

    def status(self) -> dict:
        status = self.lab.status("pass")
        self.most_users = max(self.most_users, status.get("progress", {}).get("users", 0))
        return status

    def scale(self, replicas: int) -> None:
        """Scale as an autoscaler does, and wait until so many workers make load and no more have a pod."""
        self.lab.kubectl("scale", "loadtest/pass", f"--replicas={replicas}")

        def has_come() -> bool:
            workers = self.status()["workers"]
            pods = [pod["metadata"]["name"] for pod in self.lab.pods("pass", "worker")]
            return workers["desired"] == workers["running"] == len(pods) == replicas

        until(f"{replicas} workers", has_come, seconds=60)


def by_pod(lab: Lab) -> dict[str, int]:
    """Return how many requests the target has counted from each address."""
    return {address: each["count"] for address, each in lab.target("/count")["by_client"].items()}


@promise("live-replicas", "exact-totals", "events")
@pytest.mark.timeout(240)
def test_a_run_is_scaled_up_and_down_and_every_request_is_counted_once(lab) -> None:
    lab.start(duration="75s", load__tolerance="15%", thresholds=[])
    run = Watched(lab)

    run.scale(3)
    added = lab.json("pod", "pass-w-1-2-1")["status"]["podIP"]
    until("the new worker makes load", lambda: by_pod(lab).get(added, 0) > 0)
    run.scale(1)
    assert [pod["metadata"]["name"] for pod in lab.pods("pass", "worker")] == ["pass-w-1-0-1"]
    alone = by_pod(lab)
    run.scale(2)
    # What had to go is wanted again, and comes as another.
    assert {pod["metadata"]["name"] for pod in lab.pods("pass", "worker")} == {"pass-w-1-0-1", "pass-w-1-1-2"}
    again = lab.json("pod", "pass-w-1-1-2")["status"]["podIP"]
    status = until("the run is over", lambda: run.status() if run.status().get("finished") else None, seconds=150)

    # How late engines were is the machine's affair: pods that start beside them take their processors.
    assert status["reason"] in {"Passed", "GeneratorSaturated"}, status
    assert status["verdict"] in {"Passed", "Inconclusive"}, status
    workers = status["workers"]
    assert (workers["desired"], workers["lost"], workers["ratio"]) == (2, 0, "2/2"), workers
    assert status["run"]["workers"] == 2
    assert workers["made"] == 3
    assert "problems" not in workers, workers
    # Those who had to go made no load after that.
    busy = {address for address, count in by_pod(lab).items() if count > alone.get(address, 0)}
    assert again in busy
    assert len(busy) == 2
    assert status["results"]["requests"] == status["results"]["started"] == lab.count()
    assert run.most_users <= 20
    assert status["load"]["achieved"] <= status["load"]["planned"]
    told = [each["message"] for each in lab.json("events")["items"] if each["reason"] == "Scaled"]
    assert sorted(told) == ["From 1 to 2 workers.", "From 2 to 3 workers.", "From 3 to 1 worker."]

"""The examples as they are tested, here and on a cluster: what a user would change with --set, and what must come out.

How they are run is not known here. Settings may name places, which are not the same everywhere: see `Places`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENDS = re.compile(r"^# Ends (\w+)\.$", re.MULTILINE)
EXIT_CODES = {"Passed": 0, "Failed": 99, "Aborted": 130}


@dataclass(frozen=True, slots=True)
class Places:
    """Where an example finds what it talks to."""

    target: str
    tls_target: str
    keyvalue: str
    proxy: str
    certificates: str
    image: str

    def fill(self, setting: str) -> str:
        """Return a setting with its places filled in."""
        for field in fields(self):
            setting = setting.replace(f"<{field.name}>", getattr(self, field.name))
        return setting


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has left behind: the status, the report, and what target and proxy have counted themselves."""

    status: dict[str, Any]
    report: dict[str, Any]
    counted: dict[str, Any]
    proxied: dict[str, Any]

    @property
    def is_short(self) -> bool:
        """Whether the machine had too much else to do; of a run of seconds a single one decides that."""
        return self.status["reason"] in {"GeneratorSaturated", "LoadNotReached"}

    @property
    def results(self) -> dict[str, Any]:
        return self.status["results"]

    def requests(self, name: str) -> int:
        """Return how many requests an endpoint has, whatever their methods."""
        return sum(each["requests"] for each in self.results["endpoints"] if each["name"] == name)

    def series(self, metric: str) -> list[dict[str, Any]]:
        return [each for each in self.report["series"] if each["metric"] == metric]

    def count(self, metric: str) -> int:
        return sum(each["count"] for each in self.series(metric))

    def total(self, metric: str) -> int:
        return sum(each["total"] for each in self.series(metric))

    def check(self) -> None:
        """Assert what holds for every example: exact to the unit, and nothing lost."""
        results, outside = self.results, sum(self.results["outside"].values())
        assert results["requests"] == results["started"] == sum(each["requests"] for each in results["endpoints"])
        assert results["requests"] - results["measured"] == self.counted["requests"] - outside, (results, self.counted)
        assert results["measured"] == self.counted["commands"]
        assert results["unsent"] == results["ambiguous"] == results["unaccounted"] == 0, results
        assert results["iterationErrors"] == 0, results["topErrors"]
        assert self.report["results"] == results
        assert sum(each["count"] for each in self.series("latency")) == results["requests"]


@dataclass(frozen=True, slots=True)
class Example:
    """One example, or a variant of it.

    Attributes:
        name: of the file, without its ending.
        settings: shorter loads, and where things are.
        here: settings that only a run on this machine needs.
        cluster: settings that only a cluster needs.
        verify: asserts what the example is there to show.
        variant: what is different from the file as it is.
    """

    name: str
    settings: tuple[str, ...] = ("load.target=<target>", "load.duration=3s")
    here: tuple[str, ...] = ()
    cluster: tuple[str, ...] = ()
    verify: Callable[[Outcome], None] = lambda _outcome: None
    variant: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def file(self) -> Path:
        return EXAMPLES / f"{self.name}.yaml"

    @property
    def verdict(self) -> str:
        """What the file's own header promises."""
        (promised,) = ENDS.findall(self.file.read_text())
        return promised

    def check(self, run: Outcome) -> None:
        """Assert that it ended as its header says, exactly, and showed what it is there for."""
        said = (run.status["verdict"], run.status["exitCode"])
        assert said == (self.verdict, EXIT_CODES[self.verdict]), run.status
        run.check()
        self.verify(run)


def _two_endpoints(run: Outcome) -> None:
    assert run.counted["by_path"] == {"/": run.requests("front page"), "/orders": run.requests("/orders")}
    assert run.results["checks"] == {"passed": run.requests("front page"), "failed": 0}


def _rate(run: Outcome) -> None:
    assert run.results["iterations"] == run.status["load"]["planned"] == 600
    assert run.results["droppedIterations"] == 0


def _stages(run: Outcome) -> None:
    users = run.report["timeline"]["fields"].index("users")
    most = [row[users] for row in run.report["timeline"]["rows"]]
    # Up to 50 within the first second, 50 for two, so that one row is not of their edges, then 100 at once.
    assert most.index(50) < most.index(100), most
    assert max(most) == 100


def _shape(run: Outcome) -> None:
    users = run.report["timeline"]["fields"].index("users")
    most = [row[users] for row in run.report["timeline"]["rows"]]
    # A wave of four seconds: up, and down again before the end.
    crest = most.index(max(most))
    assert most[0] < 20 < most[crest] <= 40, most
    # The shape is asked each second, at a moment that is not that of the rows: the trough may lie between two of them.
    assert min(most[crest:-1]) < most[crest] - 10, most
    assert run.counted["by_path"] == {"/": run.results["requests"]}


def _tags(run: Outcome) -> None:
    assert run.counted["by_path"] == {"/basket": run.requests("/basket"), "/orders": run.requests("/orders")}
    assert min(run.counted["by_path"].values()) > 0


def _values(run: Outcome) -> None:
    assert run.counted["by_path"] == {"/products": run.results["requests"]}


def _iterations(run: Outcome) -> None:
    assert run.results["iterations"] == 1000
    assert run.counted["by_path"] == {"/orders": 1000}


def _visit(run: Outcome) -> None:
    products = [count for path, count in run.counted["by_path"].items() if path.startswith("/products/")]
    assert sum(products) == run.requests("/products/[id]") > 0
    assert {each["name"] for each in run.results["endpoints"]} <= {"/products/[id]", "/basket", "/checkout"}
    steps = {each["name"]: each["count"] for each in run.series("iteration_duration")}
    # A sequence: nobody pays who has not filled the basket twice and looked at it.
    put, look, pay = (steps[f"Visitor.Buy.{name}"] for name in ("put_into_basket", "look_into_basket", "pay"))
    assert put >= 2 * look >= 2 * pay > 0
    assert run.counted["by_status"].get("409") is None


def _accounts(run: Outcome) -> None:
    assert len(run.counted["by_user"]) == run.requests("/login") == 20
    assert set(run.counted["by_user"].values()) == {1}
    assert run.results["topErrors"] == []


def _scenarios(run: Outcome) -> None:
    by_name = {each["name"]: each for each in run.status["load"]["scenarios"]}
    assert [by_name[name]["achieved"] for name in ("fill-cache", "buy", "audit")] == [50, 30, 10]
    assert by_name["fill-cache"]["requests"] == 50
    # Each of the visitors' answers came from the cache, so the cache was full before they came.
    assert run.results["checks"] == {"passed": by_name["browse"]["requests"], "failed": 0}
    assert sum(each["requests"] for each in by_name.values()) == run.results["requests"]


def _warm_up(run: Outcome) -> None:
    warm_up = run.results["outside"]["warmUp"]
    assert run.status["load"]["planned"] == 200
    assert run.results["requests"] + warm_up == 300
    assert 80 <= warm_up <= 120


def _metrics(run: Outcome) -> None:
    bought = run.counted["by_path"]["/checkout"]
    assert run.count("cache_hits") == run.counted["by_path"]["/search"]
    assert run.count("cache_hits") - run.total("cache_hits") <= 3
    assert run.count("paid") == run.total("orders") == bought
    assert {each["labels"]["size"] for each in run.series("orders")} == {"small", "large"}


def _measured(run: Outcome) -> None:
    assert run.results["measured"] == run.results["requests"] > 100
    assert {(each["method"], each["name"]) for each in run.results["endpoints"]} == {
        ("redis", "GET session"),
        ("redis", "SET session"),
    }
    assert run.results["bytesReceived"] == 200 * run.requests("GET session")


def _once(run: Outcome) -> None:
    assert run.results["outside"] == {"setup": 1, "teardown": 1}
    assert run.counted["by_user"] == {"load-test": 1}
    assert run.counted["by_status"] == {"200": run.results["requests"] + 1, "204": 1}


def _messages(run: Outcome) -> None:
    assert run.total("moved") == 2
    assert set(run.counted["by_path"]) == {"/", "/products"}
    assert not [each for each in run.status.get("findings", ()) if "Handler" in each]


def _events(run: Outcome) -> None:
    assert run.status["reason"] == "Stopped"
    assert "requests are enough" in run.status["message"]
    answers = {each["labels"]["status"]: each["total"] for each in run.series("answers")}
    assert answers == run.counted["by_status"]


def _https(run: Outcome) -> None:
    assert run.count("tls") == run.counted["tls_connections"] == 20
    assert run.counted["by_status"] == {"200": run.results["requests"] // 2, "201": run.results["requests"] // 2}
    assert run.results["checks"]["failed"] == 0


def _http2(run: Outcome) -> None:
    assert run.counted["by_version"] == {"HTTP/2": run.results["requests"]}
    assert run.count("connect") == run.counted["tls_connections"] == 10
    assert run.requests("picture") == 6 * run.requests("page") > 0


def _websocket(run: Outcome) -> None:
    assert run.results["requests"] == 20
    assert run.total("messages_sent") == run.total("messages_received") == run.counted["messages"] > 100
    assert run.count("message_latency") == run.results["checks"]["passed"] == run.counted["messages"]


def _streaming(run: Outcome) -> None:
    assert run.total("messages_received") == 5 * run.counted["by_path"]["/news"] > 0
    assert run.counted["by_path"]["/export"] == run.requests("/export") > 0


def _stalling(run: Outcome) -> None:
    assert {each["name"]: each["verdict"] for each in run.status["thresholds"]} == {
        "fast": "Failed",
        "nobody-was-turned-away": "Passed",
    }
    assert run.results["requests"] == run.status["load"]["planned"] == 500
    assert run.results["latencyMicros"]["p95"] > 300_000 > run.results["latencyMicros"]["p50"]


def _abort(run: Outcome) -> None:
    assert run.status["reason"] == "ThresholdsFailed"
    assert "ended the run early" in run.status["message"]
    assert run.report["run"]["loadNanoseconds"] < 30e9


def _each_user(run: Outcome) -> None:
    assert run.counted["by_path"] == {"/orders": 100}
    orders = {int(each["labels"]["customer"]): each["total"] for each in run.series("orders")}
    assert orders == dict.fromkeys(range(20), 5)


def _engines(run: Outcome) -> None:
    assert run.counted["by_path"] == {"/": 2000}
    # Here one engine a worker; in the cluster one for each of its two CPUs.
    assert run.total("engines") == (4 if "run" in run.status else 2)


def _config_map(run: Outcome) -> None:
    assert set(run.counted["by_path"]) == {"/", "/products", "/products/7"}


def _prices(run: Outcome) -> None:
    assert run.results["checks"] == {"passed": run.requests("/products/[id]"), "failed": 0}
    assert set(run.counted["by_path"]) <= {f"/products/{number}" for number in (1, 7, 12, 50)}


def _forwarded(run: Outcome) -> None:
    assert run.proxied == {"forwarded": run.results["requests"], "tunnels": 0, "address": run.proxied["address"]}
    assert set(run.counted["by_client"]) == {run.proxied["address"]}


def _tunnelled(run: Outcome) -> None:
    assert run.proxied == {"forwarded": 0, "tunnels": 10, "address": run.proxied["address"]}
    assert set(run.counted["by_client"]) == {run.proxied["address"]}
    assert run.counted["tls_connections"] == run.count("tls") == 10


_SHORT = ("load.target=<target>", "load.duration=3s")
_TLS = ("load.target=<tls_target>", "load.duration=3s")
_CA_MOUNTED = (
    "workers.template={spec: {volumes: [{name: ca, configMap: {name: shop-ca}}]}, "
    "volumeMounts: [{name: ca, mountPath: /tls}]}"
)

CATALOGUE = (
    Example("quickstart", verify=_two_endpoints),
    Example("checkout", (*_SHORT, "load.users=20"), verify=_two_endpoints),
    Example("arrival-rate", verify=_rate),
    Example(
        "stages",
        (
            "load.target=<target>",
            *(f"load.stages[{number}].duration={seconds}s" for number, seconds in enumerate((1, 2, 1, 1))),
            "thresholds[0].expr=latency:p99 < 500ms over 2s",
        ),
        verify=_stages,
    ),
    Example("shape", (*_SHORT, "load.duration=5s"), verify=_shape),
    Example("tags", verify=_tags),
    Example("live-values", (*_SHORT, "config.page=/products"), verify=_values),
    Example(
        "iterations",
        ("load.target=<target>", "load.iterations=1000", "thresholds[0].expr=iterations:count == 1000"),
        verify=_iterations,
    ),
    Example("shop-visit", (*_SHORT, "load.duration=4s"), verify=_visit),
    Example("unique-accounts", verify=_accounts),
    Example(
        "scenarios",
        ("load.target=<target>", "scenarios[1].duration=3s", "scenarios[2].duration=3s"),
        verify=_scenarios,
    ),
    Example("warm-up", (*_SHORT, "load.warmUp=1s"), verify=_warm_up),
    Example("custom-metrics", verify=_metrics),
    Example("measure", ("load.duration=3s", "env[0].value=<keyvalue>"), verify=_measured),
    Example("setup-teardown", verify=_once),
    Example("messages", (*_SHORT, "load.duration=5s"), verify=_messages),
    Example("events", ("load.target=<target>",), verify=_events),
    Example("https", _TLS, here=("env[0].value=<certificates>",), verify=_https),
    Example("http2", _TLS, here=("env[0].value=<certificates>/ca.crt",), verify=_http2),
    Example("websocket", verify=_websocket),
    Example("streaming", verify=_streaming),
    Example("stalling-target", (*_SHORT, "load.duration=5s"), verify=_stalling),
    Example("abort-on-fail", ("load.target=<target>",), verify=_abort),
    Example("iterations-per-user", ("load.target=<target>",), verify=_each_user),
    Example(
        "several-engines",
        ("load.target=<target>", "load.iterations=2000", "thresholds[1].expr=iterations:count == 2000"),
        verify=_engines,
    ),
    Example("configmap", verify=_config_map),
    Example(
        "image",
        here=(f"source.image.path={EXAMPLES}/image/shop.py",),
        cluster=("image=<image>", "imagePullPolicy=Never"),
        verify=_prices,
    ),
    Example("pipeline"),
    Example("proxy", (*_SHORT, "env[0].value=<proxy>"), verify=_forwarded),
    Example(
        "proxy",
        (*_TLS, "env[0].value=<proxy>", "env[1].value=<certificates>/ca.crt"),
        cluster=(_CA_MOUNTED,),
        verify=_tunnelled,
        variant="tunnel",
    ),
)

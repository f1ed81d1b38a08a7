"""What a class says of its HTTP client, in a real engine process."""

from __future__ import annotations

from tests.component import engine_process
from tests.component.engine_process import Make, Target, users

from loadstone_protocol.v1 import engine_pb2 as pb

engines, target = engine_process.engines, engine_process.target


def test_a_class_says_how_it_speaks_http_and_names_are_looked_up_before_the_load(engines: Make, target: Target) -> None:
    port = target.url.rpartition(":")[2]
    script = """
        import socket
        from loadstone import HttpOptions, User, task
        from loadstone_runner.engine.http.resolution import Resolver

        ask = Resolver._ask
        asked = []

        def note(self, key, result):
            asked.append(key)
            ask(self, key, result)

        Resolver._ask = note

        class Visitor(User):
            http_options = HttpOptions(ip="only ipv4", cookies="iteration", encodings=("gzip",), timeout=5)

            @task
            def front_page(self):
                assert asked == [("localhost", PORT)], asked
                assert self.http.timeout == 5
                assert len(self.http.cookies) == 0
                assert self.http.get("/").ok
                assert len(asked) == 1, asked
                self.stop()
    """
    engine = engines(script.replace("PORT", port))

    engine.start(users(3, 1.0, f"http://localhost:{port}"), lead_ns=300_000_000)
    final = engine.agent.final()

    assert [(each.kind, each.message) for each in final.errors] == []
    assert target.count()["requests"] == final.counters.completed == 3


def test_what_is_kept_for_an_iteration_is_forgotten_after_each(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import HttpOptions, User, task

        class Visitor(User):
            http_options = HttpOptions(cookies="iteration")

            @task
            def front_page(self):
                assert len(self.http.cookies) == 0
                self.http.cookies.set("session", "7", domain="127.0.0.1")
                assert self.http.get("/").ok
                assert self.http.cookies.get("session") == "7"
                if self.iteration == 4:
                    self.stop()
    """)

    engine.start(users(2, 1.0, target.url), lead_ns=300_000_000)
    final = engine.agent.final()

    assert [(each.kind, each.message) for each in final.errors] == []
    assert target.count()["requests"] == final.counters.completed == 10


def test_options_that_cannot_be_used_are_told_before_the_load(engines: Make, target: Target) -> None:
    engine = engines("""
        from loadstone import HttpOptions, User, task

        class Shop(User):
            http_options = HttpOptions(proxy="socks5://127.0.0.1:1")

            @task
            def front_page(self):
                self.http.get("/")
    """)
    engine.agent.wait(lambda each: each.script.ok)

    engine.agent.configure(revision=1, scenarios=[users(1, 1.0, target.url)], run_state=pb.READY_STATE)
    report = engine.agent.wait(lambda each: each.HasField("script") and not each.script.ok).script

    assert "Shop.http_options: the proxy" in report.problem
    assert "is no usable URL" in report.problem

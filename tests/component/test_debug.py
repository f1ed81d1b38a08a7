"""`loadstone debug`: one user in the foreground, as plain Python."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests.component import engine_process

# pytest finds a fixture by its name in the module of the test.
engines = engine_process.engines
target = engine_process.target
SECOND = 1_000_000_000


DEBUGGED = """
import sys
from loadstone import *

orders = Counter("orders", unit="1")

@setup
def prepare(run):
    return {"pair": (1, 2), "front": run.http.get("/").status}

@teardown
def clean(run):
    print("torn down with", run.setup_data)

class Shop(User):
    wait = constant(5)

    def on_start(self):
        print("begins with", self.setup_data)

    @task
    def front(self):
        reply = self.http.get("/", name="front page")
        check("it answers", reply.status == 200)
        orders.add(2, tier="gold")
        with measure("PING", protocol="redis"):
            pass

    @task(0)
    def off(self): ...

class Bad(User):
    @task
    class Set(SequentialTaskSet):
        @task
        def fails(self):
            with self.http.rename("all of them"):
                self.http.get("/status/503")
            check("never", False)

        @task
        def raises(self):
            raise KeyError("deep")

class Stepped(User):
    @task
    def step(self):
        secret = 41
        breakpoint()
        print("went on")

if __name__ == "__main__":
    sys.exit(not debug(Shop, target=sys.argv[1]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text(DEBUGGED)
    return path


def debug(script: Path, *options: str, given: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "loadstone_cli", "debug", str(script), *options],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONBREAKPOINT": ""},
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.promise("debug")
def test_debugging_shows_each_thing_that_a_user_does_and_leaves_pauses_out(script, target) -> None:
    begin = time.monotonic()
    code, shown = debug(script, "--target", target.url, "-n", "2")

    assert time.monotonic() - begin < 5
    assert code == 0
    lines = [line.split(" ms")[0].rsplit(" ", 1)[0] if " ms" in line else line for line in shown.splitlines()]
    once = [
        f"  GET front page ({target.url}/) 200",
        "  check holds: it answers",
        "  counter orders = 2 {tier=gold}",
        "  redis PING",
    ]
    assert lines == [
        "setup: prepare()",
        "  GET / 200",
        "begins with {'pair': [1, 2], 'front': 200}",
        "Shop.front (iteration 0)",
        *once,
        "  (a pause of 5 s is left out)",
        "Shop.front (iteration 1)",
        *once,
        "teardown: clean()",
        "torn down with {'pair': [1, 2], 'front': 200}",
        "all went well",
    ]
    assert target.count()["requests"] == 3


@pytest.mark.promise("debug")
def test_debugging_exits_1_when_something_fails_and_shows_the_traceback_of_the_script(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--user", "Bad", "-n", "2")

    assert code == 1
    assert f"  GET all of them ({target.url}/status/503) 503" in shown
    assert "FAILED: status 503" in shown
    assert "  check FAILED: never" in shown
    assert f'File "{script}", line' in shown
    assert "KeyError: 'deep'" in shown
    assert "loadstone_runner" not in shown
    assert shown.rstrip().endswith("3 things went wrong")


def test_debugging_takes_one_task_wherever_it_is(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--task", "raises")

    assert code == 1
    assert "Bad.Set.raises (iteration 0)" in shown


@pytest.mark.promise("debug")
def test_a_breakpoint_stops_in_the_script_and_its_values_can_be_seen(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--task", "step", given="p secret + 1\ncontinue\n")

    assert code == 0, shown
    assert "(Pdb) 42" in shown
    assert "went on" in shown


@pytest.mark.promise("debug")
def test_who_quits_the_debugger_is_through(script, target) -> None:
    code, shown = debug(script, "--target", target.url, "--task", "step", "-n", "3", given="quit\n")

    assert code == 1
    assert "iteration 1" not in shown
    assert "BdbQuit" not in shown


@pytest.mark.promise("debug")
def test_a_task_that_exits_has_not_gone_well(script, target) -> None:
    script.write_text("import sys\n" + DEBUGGED.replace("raise KeyError", "sys.exit(0); raise KeyError"))
    code, shown = debug(script, "--target", target.url, "--task", "raises")

    assert code == 1
    assert "SystemExit: 0" in shown
    assert shown.rstrip().endswith("1 things went wrong")


@pytest.mark.promise("debug")
def test_a_script_can_debug_itself_as_a_plain_program(script, target) -> None:
    done = subprocess.run([sys.executable, str(script), target.url], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "Shop.front (iteration 0)" in done.stdout
    assert done.stdout.rstrip().endswith("all went well")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (DEBUGGED, ("--task", "nowhere"), "there is no task nowhere; there are Shop.front"),
        (DEBUGGED, ("--user", "Nobody"), "there is no User class Nobody; there are Shop, Bad, Stepped"),
        ("import nowhere_at_all\n", (), "shop.py cannot be imported: ModuleNotFoundError"),
        ("x = 1\n", (), "has nothing to run"),
    ],
)
def test_what_cannot_be_debugged_is_said_in_a_sentence(script, content, options, said) -> None:
    script.write_text(content)
    code, shown = debug(script, *options)

    assert code == 2
    assert said in shown


def test_setup_that_raises_ends_the_debugging(script) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script.write_text(
        textwrap.dedent("""
        from loadstone import User, setup, task

        @setup
        def prepare(run):
            run.http.get("/")
            raise ValueError("no database")

        class Shop(User):
            @task
            def never(self): ...
    """)
    )
    code, shown = debug(script, "--target", f"http://127.0.0.1:{port}")

    assert code == 1
    assert "FAILED: refused" in shown
    assert "ValueError: no database" in shown
    assert "never" not in shown.split("all", 1)[0].replace("def never", "")


@pytest.mark.promise("debug", "messages")
def test_debugging_handles_messages_where_they_are_sent(tmp_path, target) -> None:
    script = tmp_path / "talk.py"
    script.write_text(
        textwrap.dedent("""
        from loadstone import *

        @on_message("book", where="process")
        def book(message):
            return message.data if message.data == b"x" else {"for": message.sender, "data": message.data}

        @on_message("broken")
        def broken(message):
            raise KeyError("in the handler")

        @setup
        def prepare(run):
            print("told:", send_message("book", (1, 2), to="workers").wait(1).result)

        class Talker(User):
            @task
            def talk(self):
                print("told:", send_message("book", b"x").wait(1).result)
                for name in ("broken", "nobody"):
                    print("became:", send_message(name).wait().status.value)
        """)
    )

    code, shown = debug(script, "--target", target.url)

    assert code == 1
    assert "told: {'for': 'director', 'data': [1, 2]}" in shown
    assert "told: b'x'" in shown
    assert "became: failed\n" in shown
    assert "became: rejected\n" in shown
    assert "the handler of 'broken' raised:" in shown
    assert "KeyError: 'in the handler'" in shown

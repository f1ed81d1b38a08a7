"""What starts often loads little: the modules that a start brings in are held, because times are not."""

import json
import subprocess
import sys

import pytest

promise = pytest.mark.promise


def modules_after(statement: str) -> set[str]:
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@promise("fast-start")
def test_import_loadstone_loads_no_network_and_patches_nothing() -> None:
    held = modules_after(
        "import socket, threading; before = socket.socket, threading.Thread; import loadstone;"
        " assert (socket.socket, threading.Thread) == before"
    )

    assert held & {"gevent", "grpc", "google.protobuf", "asyncio", "prometheus_client", "rich", "yaml"} == set()


@promise("fast-start")
def test_the_help_of_the_command_loads_no_engine_and_no_client() -> None:
    held = modules_after(
        "import contextlib, io; from loadstone_cli.__main__ import main;\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['--help'])\n"
    )

    assert (
        held & {"gevent", "grpc", "google.protobuf", "kopf", "kubernetes", "rich", "yaml", "prometheus_client"} == set()
    )


@promise("fast-start")
@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        (
            "loadstone_runner.agent.service",
            {"gevent", "kopf", "kubernetes", "yaml", "prometheus_client", "rich", "click"},
        ),
        (
            "loadstone_runner.engine.host",
            {"grpc", "asyncio", "kopf", "kubernetes", "yaml", "prometheus_client", "rich", "click"},
        ),
        (
            "loadstone_runner.launcher.service",
            {"grpc", "asyncio", "gevent", "google.protobuf", "loadstone_core", "ssl"},
        ),
        ("loadstone_runner.master.service", {"gevent", "kopf", "kubernetes", "yaml", "rich", "click"}),
    ],
)
def test_a_process_of_the_runner_loads_only_its_own_room(module, forbidden) -> None:
    assert modules_after(f"import {module}") & forbidden == set()

"""Processes of a local run, started beside what else its process does."""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest

from loadstone_runner.local.processes import Command, Processes

STARTS = 30
MEBIBYTE = 1 << 20
EXIT_USAGE = 2
FLOOD = """import sys
from loadstone import User, constant, task

class Visitor(User):
    wait = constant(0.001)

    @task
    def talk(self):
        sys.stdout.write(("x" * 1000 + "\\n") * 64)
"""


async def echo(request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
    return request


async def start_beside_calls(folder: Path) -> list[int]:
    """Return how processes ended that were started while calls of gRPC went on in this one."""
    server = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def call() -> None:
            while True:
                await channel.unary_unary("/test.Test/Echo")(b"x" * 5000)

        calls = [asyncio.create_task(call()) for _ in range(3)]
        processes, codes = Processes(), []
        for number in range(STARTS):
            role = f"nobody-{number}"
            await processes.start(Command(role=role, arguments=(), environment={}, log_file=folder / role))
            codes.append(await asyncio.wait_for(processes.wait(role), 30))
        for each in calls:
            each.cancel()
    await server.stop(None)
    return codes


def largest_files(folder: Path, sizes: dict[str, int]) -> None:
    """Note how large each file of a local run has been, by its path in the run's folder."""
    for path in folder.glob("*/**/*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                name = "/".join(path.relative_to(folder).parts[1:])
                sizes[name] = max(sizes.get(name, 0), path.stat().st_size)


@pytest.mark.promise("logs-complete")
def test_a_script_that_prints_without_end_fills_no_temporary_folder(tmp_path: Path) -> None:
    sizes: dict[str, int] = {}
    inline = FLOOD.replace("\n", "\n        ")
    (tmp_path / "test.yaml").write_text(
        "apiVersion: loadstone.dev/v1alpha1\nkind: LoadTest\nmetadata: {name: flood}\nspec:\n  source:\n"
        f"    entrypoint: test.py\n    inline:\n      content: |\n        {inline}\n"
        "  load: {target: 'http://127.0.0.1:9', users: 2, duration: 3s}\n"
    )
    command = [sys.executable, "-m", "loadstone_cli", "run", str(tmp_path / "test.yaml"), "--quiet"]
    # The path of a socket is short, and so is that of the folder.
    with (
        TemporaryDirectory(dir="/tmp") as folder,
        subprocess.Popen(
            [*command, "--results", str(tmp_path / "results")], env={**os.environ, "TMPDIR": folder}
        ) as run,
    ):
        while run.poll() is None:
            largest_files(Path(folder), sizes)
            time.sleep(0.1)

    assert sum(size for name, size in sizes.items() if name.startswith("logs/")) < MEBIBYTE
    assert max(sizes.values()) < 65 * MEBIBYTE
    assert max(size for name, size in sizes.items() if name.startswith("w0/log/")) > MEBIBYTE


def test_calls_of_grpc_in_the_same_process_harm_no_start(tmp_path) -> None:
    assert asyncio.run(start_beside_calls(tmp_path)) == [EXIT_USAGE] * STARTS

"""Processes of a local run, started beside what else its process does."""

import asyncio
from pathlib import Path

import grpc

from loadstone_runner.local.processes import Command, Processes

STARTS = 30
EXIT_USAGE = 2


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


def test_calls_of_grpc_in_the_same_process_harm_no_start(tmp_path) -> None:
    assert asyncio.run(start_beside_calls(tmp_path)) == [EXIT_USAGE] * STARTS

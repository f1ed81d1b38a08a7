"""Serve gRPC on a loop whose every turn takes a while; print how many turns all messages took. A process of a test.

Arguments: `ours` or `plain` for the loop, how many streams, and how many messages each of them sends.
"""

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator

import grpc
from grpc import aio

from loadstone_runner.transport.grpc.loop import Loop

TURN_SECONDS = 0.002


async def turns_of(streams: int, messages: int) -> int:
    """Return how many turns of the loop passed from the first message to the last."""
    ended, turns, first = 0, 0, None

    async def count(requests: AsyncIterator[bytes], _context: object) -> bytes:
        nonlocal ended, first
        async for _ in requests:
            first = turns if first is None else first
        ended += 1
        return b""

    server = aio.server()
    handler = grpc.stream_unary_rpc_method_handler(count)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"Count": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sending = threading.Thread(target=send, args=(port, streams, messages))
    sending.start()
    while ended < streams:
        turns += 1
        time.sleep(TURN_SECONDS)  # noqa: ASYNC251 a loop that has something else to do
        await asyncio.sleep(0)
    await asyncio.to_thread(sending.join)
    await server.stop(None)
    return turns - (first or 0)


def send(port: int, streams: int, messages: int) -> None:
    """Send on all streams at once."""

    def words() -> Iterator[bytes]:
        for _ in range(messages):
            yield b"."

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary("/test/Count")
        for reply in [call.future(words()) for _ in range(streams)]:
            reply.result(timeout=60)


def main() -> None:
    loop, streams, messages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    factory = Loop if loop == "ours" else asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(runner.run(turns_of(streams, messages)))


if __name__ == "__main__":
    main()

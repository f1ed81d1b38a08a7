"""A store that speaks a little of Redis' protocol (RESP): PING, SET, GET and INCR."""

import asyncio

from counting import Count


async def serve_keyvalue(count: Count, host: str, port: int) -> asyncio.Server:
    values: dict[bytes, bytes] = {}

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                command = await read_command(reader)
                count.commands += 1
                writer.write(obey(values, command))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            writer.close()

    return await asyncio.start_server(converse, host, port, backlog=4096)


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    words = int((await reader.readuntil(b"\r\n"))[1:])
    command = []
    for _ in range(words):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        command.append((await reader.readexactly(length + 2))[:-2])
    return command


def obey(values: dict[bytes, bytes], command: list[bytes]) -> bytes:
    match [command[0].upper(), *command[1:]]:
        case [b"PING"]:
            return b"+PONG\r\n"
        case [b"SET", key, value]:
            values[key] = value
            return b"+OK\r\n"
        case [b"GET", key]:
            value = values.get(key)
            return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        case [b"INCR", key]:
            values[key] = b"%d" % (int(values.get(key, b"0")) + 1)
            return b":%s\r\n" % values[key]
    return b"-ERR unknown command\r\n"

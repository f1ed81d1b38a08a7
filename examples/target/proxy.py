"""A small forward proxy that counts: `python3 proxy.py --port 3128`. Standard library only.

It forwards requests for whole http URLs and opens tunnels for CONNECT. GET /count says how many of both there were.
"""

import argparse
import asyncio
import contextlib
import json
from urllib.parse import urlsplit

Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    def __init__(self) -> None:
        self.forwarded = 0
        self.tunnels = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: dict[str, Peer] = {}
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, url, _ = head.split(b" ", 2)
                if method == b"CONNECT":
                    await self.tunnel((reader, writer), url.decode())
                    return
                if url.startswith(b"/"):
                    self.say_count(writer)
                    continue
                await self.forward(head, (reader, writer), upstream)
        except (asyncio.IncompleteReadError, OSError, ValueError):
            pass
        finally:
            for _, each in upstream.values():
                each.close()
            writer.close()

    async def tunnel(self, client: Peer, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        target = await asyncio.open_connection(host, int(port))
        self.tunnels += 1
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(client[0], target[1]), pump(target[0], client[1]))

    async def forward(self, head: bytes, client: Peer, upstream: dict[str, Peer]) -> None:
        """Pass on one request and its answer; both bodies have a Content-Length here."""
        line, _, headers = head.partition(b"\r\n")
        method, url, version = line.split(b" ")
        parts = urlsplit(url.decode())
        if parts.netloc not in upstream:
            upstream[parts.netloc] = await asyncio.open_connection(parts.hostname, parts.port or 80)
        target = upstream[parts.netloc]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        target[1].write(b" ".join((method, path.encode(), version)) + b"\r\n" + headers)
        target[1].write(await client[0].readexactly(length_of(head)))
        answer = await target[0].readuntil(b"\r\n\r\n")
        client[1].write(answer + await target[0].readexactly(length_of(answer)))
        await client[1].drain()
        self.forwarded += 1

    def say_count(self, writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"forwarded": self.forwarded, "tunnels": self.tunnels}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def length_of(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3128)
    told = parser.parse_args()
    server = await asyncio.start_server(Proxy().serve, told.host, told.port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())

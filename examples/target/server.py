"""A small target that counts exactly what it was asked: `python3 server.py --port 8800`. Standard library only.

    GET  /              200, 11 bytes
    POST /orders        201
    GET  /slow?ms=50    200 after so many milliseconds
    GET  /error?rate=5  500 for so many percent of the requests, evenly spread, else 200
    any  /status/503    that status
    GET  /redirect?to=/ 302
    any other path      404

Not counted:  GET /count (JSON: requests, by_path, by_status, first_ns, last_ns, by_client), POST /reset, GET /healthz.
Times are nanoseconds since the Unix epoch. A request is counted when all of it has come in.
"""

import argparse
import asyncio
import json
import time
from http import HTTPStatus
from urllib.parse import parse_qs

HEAD_MAX = 65536


class Count:
    """What was asked since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.by_path: dict[str, int] = {}
        self.by_status: dict[int, int] = {}
        self.by_client: dict[str, dict[str, int]] = {}
        self.first_ns = 0
        self.last_ns = 0
        self.errors_due = 0.0

    def add(self, path: str, status: int, client: str) -> None:
        now = time.time_ns()
        self.requests += 1
        self.by_path[path] = self.by_path.get(path, 0) + 1
        self.by_status[status] = self.by_status.get(status, 0) + 1
        seen = self.by_client.get(client)
        if seen is None:
            seen = self.by_client[client] = {"count": 0, "first_ns": now}
        seen["count"] += 1
        self.first_ns = self.first_ns or now
        self.last_ns = now

    def as_json(self) -> bytes:
        names = ("requests", "by_path", "by_status", "first_ns", "last_ns", "by_client")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


class Target(asyncio.Protocol):
    """One connection. Requests are answered in order; one that waits holds back those behind it."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.held = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 create_server makes no other
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else "unix"

    def connection_lost(self, _error: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.held = self.held + data if self.held else data
        self.answer_all()

    def answer_all(self) -> None:
        while self.held and not self.timer:
            end = self.held.find(b"\r\n\r\n")
            if end < 0:
                if len(self.held) > HEAD_MAX:
                    self.transport.abort()
                return
            head = self.held[:end]
            rest = self.held[end + 4 :]
            length = chunked_length(rest) if is_chunked(head) else content_length(head)
            if length is None or len(rest) < length:
                return
            self.held = rest[length:]
            self.answer(head)

    def answer(self, head: bytes) -> None:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0]
        path, _, query = target.partition(b"?")
        if path == b"/" and not query:
            self.count.add("/", 200, self.client)
            self.transport.write(FRONT if method != b"HEAD" else FRONT_HEAD)
        elif (control := self.control(method, path)) is not None:
            self.transport.write(control)
        else:
            self.answer_other(method, path.decode("latin-1"), parse_qs(query.decode("latin-1")))
        if b"\nconnection: close" in head.lower():
            self.transport.close()

    def control(self, method: bytes, path: bytes) -> bytes | None:
        if path == b"/healthz":
            return answer_of(200, b"ok\n")
        if path == b"/count":
            return answer_of(200, self.count.as_json(), "application/json")
        if path == b"/reset" and method == b"POST":
            self.count.reset()
            return answer_of(204)
        return None

    def answer_other(self, method: bytes, path: str, query: dict[str, list[str]]) -> None:
        status, body, location = self.route(method, path, query)
        self.count.add(path, status, self.client)
        data = answer_of(status, b"" if method == b"HEAD" else body, location=location)
        wait_ms = float(query.get("ms", ["100"])[0]) if path == "/slow" else 0
        if wait_ms > 0:
            self.timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self.answer_late, data)
        else:
            self.transport.write(data)

    def answer_late(self, data: bytes) -> None:
        self.timer = None
        self.transport.write(data)
        self.answer_all()

    def route(self, method: bytes, path: str, query: dict[str, list[str]]) -> tuple[int, bytes, str | None]:
        if path == "/orders" and method == b"POST":
            return 201, b'{"order":1}', None
        if path == "/slow":
            return 200, b"slow", None
        if path == "/error":
            return (500 if self.is_error_due(float(query.get("rate", ["100"])[0])) else 200), b"maybe", None
        if path.startswith("/status/") and path[8:].isdigit() and int(path[8:]) in range(200, 600):
            return int(path[8:]), b"", None
        if path == "/redirect":
            return 302, b"", query.get("to", ["/"])[0]
        return 404, b"not here", None

    def is_error_due(self, percent: float) -> bool:
        self.count.errors_due += percent / 100
        if self.count.errors_due < 1:
            return False
        self.count.errors_due -= 1
        return True


def is_chunked(head: bytes) -> bool:
    return b"\ntransfer-encoding: chunked" in head.lower()


def chunked_length(body: bytes) -> int | None:
    """Return how long a body in chunks is, without trailers; None while it is not whole."""
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end].partition(b";")[0] or b"0", 16)
        at = end + 2 + size + 2
        if size == 0:
            return at
    return None


def content_length(head: bytes) -> int:
    at = head.lower().find(b"\ncontent-length:")
    if at < 0:
        return 0
    value = head[at + 16 :].split(b"\r\n", 1)[0].strip()
    return int(value) if value.isdigit() else 0


def answer_of(status: int, body: bytes = b"", kind: str = "text/plain", location: str | None = None) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Type: {kind}"]
    if status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    if location is not None:
        lines.append(f"Location: {location}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


FRONT = answer_of(200, b"hello world")
FRONT_HEAD = FRONT.removesuffix(b"hello world")


async def serve(host: str, port: int) -> None:
    count = Count()
    server = await asyncio.get_running_loop().create_server(lambda: Target(count), host, port, backlog=4096)
    for socket in server.sockets:
        print(f"listening on {socket.getsockname()[0]}:{socket.getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8800)
    told = parser.parse_args()
    try:
        asyncio.run(serve(told.host, told.port))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

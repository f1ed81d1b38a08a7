"""A small shop that counts exactly what it was asked: `python3 server.py --port 8800`. Standard library only, but for
HTTP/2 (the h2 package) and WebSocket (wsproto).

    GET  /                        200, 11 bytes
    GET  /products, /products/7   the catalogue (gzip if asked for), one product
    GET  /search?q=...            X-Cache: hit or miss
    GET, POST /basket             a basket for each visitor, known by a cookie
    POST /checkout                201, or 409 if the basket is empty
    POST /orders                  201
    POST, DELETE /login           {"user": ...}: a token for `Authorization: Bearer`, 409 if the account is in use
    GET  /account                 200 with a token, else 401
    GET  /partner                 200 with a client certificate, else 403
    GET  /export?lines=100        JSON lines, in chunks
    GET  /news?events=5&ms=100    server-sent events, so many milliseconds apart
    WS   /chat                    says back what it hears
    GET  /slow?ms=50              200 after so many milliseconds
    GET  /stalls?every=10&for=1   stands still for a second in every ten
    GET  /error?rate=5            500 for so many percent of the requests, evenly spread, else 200
    any  /status/503              that status
    GET  /redirect?to=/           302
    any other path                404

Not counted:  GET /count (JSON: requests, by_path, by_status, ...), POST /reset, GET /healthz. A request is counted when
all of it has come in. With --tls-port the same over TLS, with tls.crt and tls.key of --tls-folder (and ca.crt for those
who show a certificate; certificates.py makes them all), and HTTP/2 for who asks for it. With --keyvalue-port a store
that speaks a little of Redis' protocol; its commands are counted, too.
"""

import argparse
import asyncio
import ssl
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl

from counting import Count
from shop import Answer, Request, Shop

HEAD_MAX = 65536


class Http1(asyncio.Protocol):
    """One connection. Requests are answered in order; one that waits holds back those behind it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.held = b""
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 create_server makes no other
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else "unix"
        tls = transport.get_extra_info("ssl_object")
        self.has_certificate = tls is not None and bool(tls.getpeercert())
        self.shop.count.tls_connections += tls is not None
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            self.speak_http2(b"")

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
            if head == b"PRI * HTTP/2.0":
                self.speak_http2(self.held)
                return
            rest = self.held[end + 4 :]
            length = chunked_length(rest) if is_chunked(head) else content_length(head)
            if length is None or len(rest) < length:
                return
            self.held = rest[length:]
            self.answer(head, rest[:length])

    def answer(self, head: bytes, body: bytes) -> None:
        method, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0]
        path, _, query = target.partition(b"?")
        if path == b"/" and not query:
            self.shop.count.add("/", 200, self.client)
            self.transport.write(FRONT if method != b"HEAD" else FRONT_HEAD)
        elif (control := self.control(method, path)) is not None:
            self.transport.write(control)
        elif path == b"/chat" and b"\nupgrade: websocket" in head.lower():
            self.speak_websocket(head)
            return
        else:
            has_certificate = self.has_certificate
            request = Request(
                method.decode(), path.decode(), dict(parse_qsl(query.decode())), fields_of(head), body, has_certificate
            )
            self.answer_shop(request)
        if b"\nconnection: close" in head.lower():
            self.transport.close()

    def control(self, method: bytes, path: bytes) -> bytes | None:
        if path == b"/healthz":
            return bytes_of(Answer(200, b"ok\n"))
        if path == b"/count":
            return bytes_of(Answer(200, self.shop.count.as_json(), kind="application/json"))
        if path == b"/reset" and method == b"POST":
            self.shop.reset()
            return bytes_of(Answer(204))
        return None

    def answer_shop(self, request: Request) -> None:
        answer = self.shop.answer(request)
        self.shop.count.add(request.path, answer.status, self.client)
        data = bytes_of(answer, has_body=request.method != "HEAD")
        if answer.pieces:
            self.transport.write(data)
            self.send_pieces(answer, 0)
        elif answer.wait_seconds > 0:
            self.timer = asyncio.get_running_loop().call_later(answer.wait_seconds, self.answer_late, data)
        else:
            self.transport.write(data)

    def answer_late(self, data: bytes) -> None:
        self.timer = None
        self.transport.write(data)
        self.answer_all()

    def send_pieces(self, answer: Answer, first: int) -> None:
        """Send the next piece, or all of them if there is no pause between them."""
        last = first + 1 if answer.pause_seconds else len(answer.pieces)
        for piece in answer.pieces[first:last]:
            self.transport.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if last < len(answer.pieces):
            self.timer = asyncio.get_running_loop().call_later(answer.pause_seconds, self.send_pieces, answer, last)
        else:
            self.answer_late(b"0\r\n\r\n")

    def speak_http2(self, received: bytes) -> None:
        from http2 import Http2

        protocol = Http2(self.shop, self.client)
        protocol.begin(self.transport)
        if received:
            protocol.data_received(received)

    def speak_websocket(self, head: bytes) -> None:
        from websocket import Chat

        self.shop.count.add("/chat", 101, self.client)
        Chat(self.shop.count, self.transport).begin(head + b"\r\n\r\n" + self.held)


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


def fields_of(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


def bytes_of(answer: Answer, *, has_body: bool = True) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Status"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Type: {answer.kind}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.pieces:
        lines.append("Transfer-Encoding: chunked")
    elif answer.status not in (204, 304):
        lines.append(f"Content-Length: {len(answer.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (answer.body if has_body else b"")


FRONT = bytes_of(Answer(200, b"hello world"))
FRONT_HEAD = FRONT.removesuffix(b"hello world")


def server_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2", "http/1.1"])
    if (folder / "ca.crt").exists():
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def serve(told: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    shop = Shop(Count())
    servers = [await loop.create_server(lambda: Http1(shop), told.host, told.port, backlog=4096)]
    if told.tls_port is not None:
        tls = server_tls(told.tls_folder)
        servers.append(await loop.create_server(lambda: Http1(shop), told.host, told.tls_port, ssl=tls, backlog=4096))
    if told.keyvalue_port is not None:
        from keyvalue import serve_keyvalue

        servers.append(await serve_keyvalue(shop.count, told.host, told.keyvalue_port))
    for socket in (each for server in servers for each in server.sockets):
        print(f"listening on {socket.getsockname()[0]}:{socket.getsockname()[1]}", flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8800)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--tls-folder", type=Path, default=Path())
    parser.add_argument("--keyvalue-port", type=int)
    try:
        asyncio.run(serve(parser.parse_args()))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

"""The same shop over HTTP/2. Needs the h2 package, which Loadstone's own environment has."""

import asyncio
from urllib.parse import parse_qsl

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from shop import Answer, Request, Shop

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"


class Http2(asyncio.Protocol):
    """One connection with many requests at a time."""

    def __init__(self, shop: Shop, client: str) -> None:
        self.shop = shop
        self.client = client
        self.connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.asked: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.unsent: dict[int, bytes] = {}

    def begin(self, transport: asyncio.Transport) -> None:
        """Take a connection over from HTTP/1.1, or after its TLS handshake."""
        self.transport = transport
        transport.set_protocol(self)
        self.connection.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            self.take(event)
        self.flush()

    def take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self.asked[event.stream_id] = (dict(event.headers), bytearray())
            case DataReceived():
                self.asked[event.stream_id][1].extend(event.data)
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                self.respond(event.stream_id)
            case StreamReset():
                self.asked.pop(event.stream_id, None)
                self.unsent.pop(event.stream_id, None)
            case WindowUpdated():
                self.send_bodies()

    def respond(self, stream: int) -> None:
        headers, body = self.asked.pop(stream)
        path, _, query = headers[":path"].partition("?")
        request = Request(headers[":method"], path, dict(parse_qsl(query)), headers, bytes(body))
        answer = self.shop.answer(request)
        self.shop.count.add(path, answer.status, self.client, version="HTTP/2")
        if answer.wait_seconds:
            asyncio.get_running_loop().call_later(answer.wait_seconds, self.send, stream, answer)
        else:
            self.send(stream, answer)

    def send(self, stream: int, answer: Answer) -> None:
        body = answer.body or b"".join(answer.pieces)
        headers = [(":status", str(answer.status)), ("content-type", answer.kind), ("content-length", str(len(body)))]
        headers += [(name.lower(), value) for name, value in answer.headers.items()]
        self.connection.send_headers(stream, headers, end_stream=not body)
        if body:
            self.unsent[stream] = body
            self.send_bodies()
        self.flush()

    def send_bodies(self) -> None:
        """Send as much as the client's windows take."""
        for stream, body in list(self.unsent.items()):
            rest = body
            while rest:
                size = min(self.connection.local_flow_control_window(stream), self.connection.max_outbound_frame_size)
                if size <= 0:
                    break
                piece, rest = rest[:size], rest[size:]
                self.connection.send_data(stream, piece, end_stream=not rest)
            if rest:
                self.unsent[stream] = rest
            else:
                del self.unsent[stream]

    def flush(self) -> None:
        self.transport.write(self.connection.data_to_send())

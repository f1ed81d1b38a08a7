"""A chat that says back what it hears. Needs the wsproto package, which Loadstone's own environment has."""

import asyncio

from counting import Count
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage


class Chat(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, count: Count, transport: asyncio.Transport) -> None:
        self.count = count
        self.transport = transport
        self.connection = WSConnection(ConnectionType.SERVER)

    def begin(self, received: bytes) -> None:
        """Take a connection over from HTTP/1.1, with its request."""
        self.transport.set_protocol(self)
        self.data_received(received)

    def data_received(self, data: bytes) -> None:
        self.connection.receive_data(data)
        for event in self.connection.events():
            match event:
                case Request():
                    self.transport.write(self.connection.send(AcceptConnection()))
                case TextMessage() | BytesMessage():
                    self.count.messages += event.message_finished
                    self.transport.write(
                        self.connection.send(type(event)(data=event.data, message_finished=event.message_finished))
                    )
                case Ping():
                    self.transport.write(self.connection.send(event.response()))
                case CloseConnection():
                    self.transport.write(self.connection.send(event.response()))
                    self.transport.close()

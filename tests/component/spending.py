"""Compare the CPU time of our client's requests with that of bare gevent sockets that send and receive the same bytes.

A process of its own, as gevent's loop is one a thread: `python spending.py` prints the CPU nanoseconds a request of
both, the least of several short runs that alternate. The server is another process, whose time does not count.
"""

import json
import multiprocessing
import selectors
import socket
from time import process_time_ns

import gevent
from gevent import socket as gevent_socket

from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.http.outfit import Outfit
from loadstone_runner.engine.http.resolution import Resolver
from loadstone_runner.engine.path import HttpClient, Instruments

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bare\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nServer: bare\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nHello World"
USERS, REQUESTS, RUNS = 10, 200, 7


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    server.start()
    port = listener.getsockname()[1]
    instruments = Instruments(CounterFile(""))
    outfit = Outfit(f"http://127.0.0.1:{port}")
    clients = [HttpClient(outfit, instruments, Resolver()) for _ in range(USERS)]
    bare = [gevent_socket.create_connection(("127.0.0.1", port)) for _ in range(USERS)]
    spent: dict[str, list[int]] = {"ours": [], "bare": []}
    for _ in range(RUNS):
        spent["ours"].append(cpu_ns([gevent.spawn(ask, client) for client in clients]))
        spent["bare"].append(cpu_ns([gevent.spawn(exchange, each) for each in bare]))
    found = {name: min(values[1:]) // (USERS * REQUESTS) for name, values in spent.items()}
    print(json.dumps({**found, "recorded": instruments.counters.read().completed}))
    server.terminate()


def cpu_ns(greenlets: list[gevent.Greenlet]) -> int:
    before = process_time_ns()
    gevent.joinall(greenlets, raise_error=True)
    return process_time_ns() - before


def ask(client: HttpClient) -> None:
    for _ in range(REQUESTS):
        reply = client.get("/", name="front page")
        assert reply.body == b"Hello World", reply


def exchange(connection: gevent_socket.socket) -> None:
    for _ in range(REQUESTS):
        connection.sendall(REQUEST)
        assert connection.recv(65536) == ANSWER


def serve(listener: socket.socket) -> None:
    """Answer each piece that arrives with the same bytes: it is one request, as nobody sends two at once."""
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif key.fileobj.recv(65536):
                key.fileobj.sendall(ANSWER)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


if __name__ == "__main__":
    main()

"""Servers for tests of the HTTP client, raw sockets in threads that count and misbehave, and a bench of clients."""

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from loadstone import HttpOptions
from loadstone_core.stats.stream import Counters
from loadstone_runner.engine.counters import CounterFile
from loadstone_runner.engine.http.client import Client
from loadstone_runner.engine.http.outfit import Outfit
from loadstone_runner.engine.http.resolution import Resolver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Server:
    """A server in a thread; `behave(peer, number)` is called for each connection, numbered from 0."""

    def __init__(
        self, behave: Callable[["Peer", int], None], tls: ssl.SSLContext | None = None, unix: Path | None = None
    ) -> None:
        self.behave = behave
        self.tls = tls
        self.requests: list[bytes] = []
        self.callers: list[str] = []
        self.open: list[socket.socket] = []
        if unix is None:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(unix))
            self.listener.listen()
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def connections(self) -> int:
        return len(self.open)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, caller = self.listener.accept()
                if caller:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.callers.append(caller[0] if caller else "")
                self.open.append(connection)
                threading.Thread(target=self._serve, args=(connection, len(self.open) - 1), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), connection:
            if self.tls is None:
                self.behave(Peer(self, connection), number)
            else:
                with self.tls.wrap_socket(connection, server_side=True) as secured:
                    self.behave(Peer(self, secured), number)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for each in self.open:
            with contextlib.suppress(OSError):
                each.close()
        self.thread.join(5)


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        self.held = b""

    def head(self) -> bytes:
        """Read one head, with its empty line."""
        while b"\r\n\r\n" not in self.held:
            self.more()
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def request(self) -> bytes:
        """Read one request with its body, count it, and return it; OSError when there is none any more."""
        head = self.head()
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if b"transfer-encoding: chunked" in head.lower():
            while not self.held.endswith(b"0\r\n\r\n"):
                self.more()
            length = len(self.held)
        while len(self.held) < length:
            self.more()
        whole, self.held = head + self.held[:length], self.held[length:]
        self.server.requests.append(whole)
        return whole

    def more(self) -> None:
        received = self.connection.recv(65536)
        if not received:
            raise ConnectionError
        self.held += received

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def pass_on(self, port: int) -> None:
        """Be a tunnel to a port of loopback, byte for byte."""
        with socket.create_connection(("127.0.0.1", port)) as onward:
            onward.sendall(self.held)
            back = threading.Thread(target=_pump, args=(onward, self.connection), daemon=True)
            back.start()
            _pump(self.connection, onward)
            back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while received := source.recv(65536):
            sink.sendall(received)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def always(*answers: bytes) -> Callable[[Peer, int], None]:
    """Answer every request of a connection with these pieces, sent one by one."""

    def behave(peer: Peer, _number: int) -> None:
        while peer.request():
            for each in answers:
                peer.send(each)
                if len(answers) > 1:
                    time.sleep(0.01)

    return behave


def once(*answers: bytes) -> Callable[[Peer, int], None]:
    """Answer the first request of a connection with these pieces and close it."""

    def behave(peer: Peer, _number: int) -> None:
        peer.request()
        for each in answers:
            peer.send(each)
            time.sleep(0.01)

    return behave


class Bench:
    """Clients of one flavour and what they recorded."""

    def __init__(self, path: ModuleType) -> None:
        self.path = path
        self.instruments = path.Instruments(CounterFile(""))
        self.resolver = Resolver()
        self.clients: list[Client] = []

    def client(self, url: str, **options) -> Client:
        made = self.path.HttpClient(Outfit(url, HttpOptions(**options)), self.instruments, self.resolver)
        self.clients.append(made)
        return made

    def close(self) -> None:
        for each in self.clients:
            each.close()

    @property
    def counters(self) -> Counters:
        return self.instruments.counters.read()

    @property
    def errors(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in self.instruments.recorder.errors():
            found[each.kind] = found.get(each.kind, 0) + each.count
        return found

    @property
    def sentences(self) -> list[str]:
        return [each.message for each in self.instruments.recorder.errors()]

    def outcomes(self, name: str = "/") -> dict[str, int]:
        """Return the counters beside the latency of a name, with its count."""
        for each in self.instruments.recorder.whole():
            if (each.key.metric, each.key.name) == ("latency", name):
                return {"count": each.count, **dict(each.outcomes)}
        return {}

    def counts(self, name: str = "/") -> dict[str, int]:
        """Return how many samples each metric has under a name."""
        return {each.key.metric: each.count for each in self.instruments.recorder.whole() if each.key.name == name}


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.pem"
        _openssl(
            "req", "-x509", *_key_to(folder / f"{name}.key"), "-out", self.certificate, "-days", "2",
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue(self, name: str, alternative: str, *, since: str = "20200101", until: str = "20990101") -> Path:
        """Return a PEM file with a certificate for `alternative` (`DNS:...`, `IP:...`) and its key."""
        key, request, extension = (self.folder / f"{name}.{end}" for end in ("key", "csr", "ext"))
        whole, certificate = self.folder / f"{name}.pem", self.folder / f"{name}.crt"
        extension.write_text(f"subjectAltName={alternative}\n")
        (self.folder / "index.txt").write_text("")
        config = self.folder / "ca.conf"
        config.write_text(_CA_CONFIG.format(folder=self.folder))
        _openssl("req", "-new", *_key_to(key), "-out", request, "-subj", f"/CN={name}")
        _openssl(
            "ca", "-batch", "-notext", "-config", config, "-in", request, "-out", certificate,
            "-cert", self.certificate, "-keyfile", self.folder / f"{self.name}.key", "-extfile", extension,
            "-startdate", f"{since}000000Z", "-enddate", f"{until}000000Z",
        )  # fmt: skip
        whole.write_bytes(certificate.read_bytes() + key.read_bytes())
        return whole


_CA_CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
default_md = sha256
rand_serial = yes
policy = any
[any]
commonName = supplied
"""


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a TLS server needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _key_to(path: Path) -> tuple[object, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *(str(each) for each in arguments)], check=True, capture_output=True)

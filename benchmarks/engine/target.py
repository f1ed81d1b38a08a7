"""Run nginx as the target of all generators, and ask it how many requests it has served. Who asks lives elsewhere."""

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import started
from toolbox import HERE, debian_program

CONNECTIONS_MOST = 60_000
START_SECONDS = 10.0
ORDER_LINES = 100
PIECES_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Count:
    """What the target has served until a moment of the monotonic clock.

    Attributes:
        at_ns: of this machine's clock, just after the answer.
        requests: without those for counts.
        connections: open now, without the one that asked.
    """

    at_ns: int
    requests: int
    connections: int


class Target:
    """A running nginx.

    Attributes:
        port: of plain HTTP, on 127.0.0.1 to 127.0.0.4.
        url: of plain HTTP.
        tls_url: where every handshake is a full one.
        resumable_url: where sessions may be resumed.
    """

    def __init__(self, folder: Path, plain: int, *, tls: int, resumable: int) -> None:
        self.port = plain
        self.url = f"http://127.0.0.1:{plain}"
        self.tls_url = f"https://127.0.0.1:{tls}"
        self.resumable_url = f"https://127.0.0.1:{resumable}"
        self._folder = folder
        self._own = 0

    def count(self) -> Count:
        """Return how much was served.

        Raises:
            OSError: it does not answer.
        """
        with urllib.request.urlopen(f"{self.url}/status", timeout=30) as reply:
            text = reply.read().decode()
        at_ns = time.monotonic_ns()
        self._own += 1
        # Active connections: N \n server accepts handled requests \n A H R \n Reading: ...
        active, _, _, requests = (int(number) for number in re.findall(r"\d+", text)[:4])
        return Count(at_ns, requests - self._own, active - 1)

    def resumed(self) -> tuple[int, int]:
        """Return how many requests the resumable server has had since the last call, and how many resumed."""
        time.sleep(0.3)
        log = self._folder / "reused.log"
        letters = log.read_text().split("\n")[:-1]
        # nginx appends, so it goes on at the new end.
        log.write_text("")
        return len(letters), letters.count("r")


@contextlib.contextmanager
def running_target(core: int) -> Iterator[Target]:
    """Run nginx on a core for as long as the block lasts."""
    nginx = debian_program("nginx")
    with tempfile.TemporaryDirectory(prefix="loadstone-bench-") as name:
        folder = Path(name)
        plain, tls, resumable = _free_ports(3)
        _write_files(folder)
        configuration = (HERE / "nginx.conf").read_text()
        for token, value in {
            "FOLDER": folder,
            "CONNECTIONS": CONNECTIONS_MOST,
            "PLAIN": plain,
            "TLS": tls,
            "RESUMABLE": resumable,
        }.items():
            configuration = configuration.replace(f"@{token}@", str(value))
        (folder / "nginx.conf").write_text(configuration)
        output = folder / "output.log"
        command = [*nginx, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
        with started(command, core=core, output=output) as process:
            target = Target(folder, plain, tls=tls, resumable=resumable)
            _wait_until_ready(target, process, output)
            yield target


def nginx_version() -> str:
    """Return the version of nginx."""
    said = subprocess.run([*debian_program("nginx"), "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


def _write_files(folder: Path) -> None:
    order = {
        "customer": "Ada",
        "lines": [
            {"number": number, "name": f"article {number}", "price": number * 1.25, "in_stock": number % 3 > 0}
            for number in range(ORDER_LINES)
        ],
        "note": "",
    }
    # Exactly 10 KB: the note fills up what the lines leave.
    order["note"] = "-" * (10_240 - len(json.dumps(order)))
    (folder / "order.json").write_text(json.dumps(order))
    (folder / "pieces.txt").write_text("Hello World\n" * (PIECES_BYTES // 12))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True,
        capture_output=True,
    )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_until_ready(target: Target, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            target.count()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"bench-engine: nginx did not start: {output.read_text().strip()[-500:]}")

"""Run a command in a network of its own, with a range of local ports and the example target on port 8800.

`unshare --net python own_network.py FIRST LAST COMMAND...`; everything ends with the command. No test is here.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "examples" / "target" / "server.py"
TARGET = "http://127.0.0.1:8800"
SIOCSIFFLAGS = 0x8914
IFF_UP_AND_RUNNING = 0x41
PR_SET_PDEATHSIG = 1


def prefix(first: int, last: int) -> list[str]:
    """Return what a command is to be preceded by."""
    return ["unshare", "--net", sys.executable, __file__, str(first), str(last)]


def is_allowed() -> bool:
    """Say whether this user may make networks."""
    return subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode == 0


def main(first: str, last: str, *command: str) -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_AND_RUNNING))
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {last}\n")
    server = subprocess.Popen(
        [sys.executable, str(SERVER), "--port", "8800"],
        stdout=subprocess.PIPE,
        # It ends with this process, which becomes the command and has no threads yet.
        preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 see above
    )
    assert server.stdout is not None
    server.stdout.readline()
    os.execvp(command[0], command)  # noqa: S606 no shell is wanted


if __name__ == "__main__":
    main(*sys.argv[1:])

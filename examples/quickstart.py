"""Start a small target server on loopback, run examples/quickstart.yaml against it, and say what the target counted."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Return the exit code of `loadstone run`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(HERE / "target" / "server.py"), "--port", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url)
        print(f"target server: {url}\n$ loadstone run examples/quickstart.yaml --set load.target={url}\n", flush=True)
        command = [sys.executable, "-m", "loadstone_cli", "run", str(HERE / "quickstart.yaml")]
        code = subprocess.run([*command, "--set", f"load.target={url}"], check=False).returncode
        with urllib.request.urlopen(f"{url}/count") as reply:
            print(f"the target itself counted {json.load(reply)['requests']} requests")
    finally:
        server.terminate()
        server.wait()
    return code


def wait_until_healthy(url: str) -> None:
    """Wait at most ten seconds for the server; SystemExit when it does not answer."""
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/healthz").close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"quickstart: the target server at {url} does not answer")


if __name__ == "__main__":
    sys.exit(main())

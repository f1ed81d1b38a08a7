"""The application of examples/fastapi, with a page that tells what is in its process. Served by uvicorn in a test."""

import socket
import ssl
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "fastapi"))

from app import app


@app.get("/self")
async def about_this_process() -> dict[str, object]:
    houses = ("loadstone", "gevent", "greenlet", "grpc", "google")
    return {
        "modules": sorted(name for name in sys.modules if name.split(".")[0].startswith(houses)),
        # What gevent would have put its own in place of.
        "patched": {
            "socket": socket.socket.__module__,
            "ssl": ssl.SSLContext.__module__,
            "threading": threading.Thread.start.__module__,
        },
    }

"""What the target has been asked, counted exactly. Answering is the shop's."""

import json
import time


class Count:
    """What was asked since the start or the last reset. Times are nanoseconds since the Unix epoch."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.by_path: dict[str, int] = {}
        self.by_status: dict[int, int] = {}
        self.by_client: dict[str, dict[str, int]] = {}
        self.by_version: dict[str, int] = {}
        self.by_user: dict[str, int] = {}
        self.tls_connections = 0
        self.commands = 0
        self.messages = 0
        self.first_ns = 0
        self.last_ns = 0

    def add(self, path: str, status: int, client: str, *, version: str = "HTTP/1.1") -> None:
        now = time.time_ns()
        self.requests += 1
        self.by_path[path] = self.by_path.get(path, 0) + 1
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.by_version[version] = self.by_version.get(version, 0) + 1
        seen = self.by_client.get(client)
        if seen is None:
            seen = self.by_client[client] = {"count": 0, "first_ns": now}
        seen["count"] += 1
        self.first_ns = self.first_ns or now
        self.last_ns = now

    def add_user(self, name: str) -> int:
        """Return how often somebody has logged in with this name, this time included."""
        self.by_user[name] = self.by_user.get(name, 0) + 1
        return self.by_user[name]

    def as_json(self) -> bytes:
        return json.dumps(vars(self)).encode()

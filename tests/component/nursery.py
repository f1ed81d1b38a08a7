"""Start masters and agents by the dozen: `python nursery.py` imports them once, and each start is a fork of that.

It reads a JSON object a line, {"role": ..., "environment": ..., "log": ...}, and answers with the process id. What a
process is, it is as from `python -m loadstone_runner`, but for the time that its imports take. No test is here.
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any, Self

# Nothing of gRPC runs before a fork: it is only imported.
for _name in ("GRPC_ENABLE_FORK_SUPPORT", "GRPC_VERBOSITY"):
    os.environ.setdefault(_name, {"GRPC_VERBOSITY": "NONE"}.get(_name, "false"))


def main() -> None:
    import loadstone_runner.agent.service
    import loadstone_runner.master.service  # noqa: F401 for the modules' cache
    from loadstone_runner import settings
    from loadstone_runner.__main__ import main as start

    # Whoever it has started ends with it, and it ends with the test.
    os.environ[settings.PARENT] = str(os.getpid())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        asked = json.loads(line)
        process = os.fork()
        if not process:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ.update(asked["environment"])
            os._exit(start([asked["role"]], os.environ))
        print(process, flush=True)


class Nursery:
    """One such process, and all that it has started, which end with the context."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.started:
            self.end(process)
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def start(self, role: str, environment: dict[str, str], log: str) -> int:
        asked: dict[str, Any] = {"role": role, "environment": environment, "log": log}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            process = int(await self._process.stdout.readline())
        self.started.append(process)
        return process

    def end(self, process: int) -> None:
        """Kill a process, which may have ended: nobody else is given its number so soon."""
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    main()

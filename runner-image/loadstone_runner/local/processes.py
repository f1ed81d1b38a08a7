"""Start, watch and end the processes of a local run. They die with their parent, whatever happens to it."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loadstone_runner.settings import PARENT


@dataclass(frozen=True, slots=True)
class Command:
    """One process: what a container would be."""

    role: str  # for people and file names: master, director, agent-0, worker-0
    arguments: tuple[str, ...]  # of `python -m loadstone_runner`
    environment: Mapping[str, str]
    log_file: Path | None  # for all that it prints, however much; None: nobody reads it


class Processes:
    """The processes of one run."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.subprocess.Process] = {}
        self._logs: dict[str, Path] = {}

    async def start(self, command: Command) -> None:
        """Start `command` in a session of its own, so that Ctrl-C in the terminal reaches only its parent."""
        with (command.log_file or Path(os.devnull)).open("ab") as log:
            self._held[command.role] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "loadstone_runner",
                *command.arguments,
                env={**os.environ, **command.environment, PARENT: str(os.getpid())},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if command.log_file is not None:
            self._logs[command.role] = command.log_file

    def exit_code(self, role: str) -> int | None:
        """Return how the process called `role` ended; None while it lives."""
        return self._held[role].returncode

    def tail(self, role: str, lines: int = 5) -> str:
        """Return the last lines that the process called `role` wrote into its file."""
        text = self._logs[role].read_text(errors="replace").strip().splitlines()
        return "\n".join(text[-lines:])

    def kill(self, role: str) -> None:
        """End the process called `role` at once, and what dies with it."""
        if self._held[role].returncode is None:
            self._held[role].kill()

    async def wait(self, role: str) -> int:
        """Wait until the process called `role` has ended; return its exit code."""
        return await self._held[role].wait()

    async def end(self, grace_seconds: float) -> None:
        """Wait for all processes; those that still live after `grace_seconds` are ended, then killed."""
        for step in (None, signal.SIGTERM, signal.SIGKILL):
            living = [process for process in self._held.values() if process.returncode is None]
            if step is not None:
                for process in living:
                    process.send_signal(step)
            if living:
                await asyncio.wait([asyncio.ensure_future(process.wait()) for process in living], timeout=grace_seconds)

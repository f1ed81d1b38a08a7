"""The client for asyncio, as for an application on FastAPI. It needs aiohttp: `pip install 'loadstone[control]'`."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from loadstone_client.errors import Refused, Unreachable
from loadstone_client.launching import COMMAND, Place, make_place
from loadstone_client.values import Outcome, Row, State, Tier, state_from
from loadstone_client.wire import Address, Watch, answer_of, load_wish, parse_address

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
    from types import TracebackType

CALL_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 30.0  # the API says something every ten
AGAIN_SECONDS: Final = 0.5
START_SECONDS: Final = 30.0


class Run:
    """A run whose control API is at an address; see `loadstone_client.Run`, whose methods these are.

    Attributes:
        outcome: how it ended, once that is known here.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.outcome: Outcome | None = None

    async def state(self) -> State:
        """Return the whole state of the run, now."""
        return state_from(await self._ask("GET", "/v1/run"))

    async def watch(
        self, tier: Tier = "1s", *, from_second: int = 0, patience_seconds: float = 30.0
    ) -> AsyncGenerator[Row, None]:
        """Yield closed rows, those of the past first, then each when it is closed, until the run is over."""
        watch = Watch(tier, from_second)
        reached = time.monotonic()
        while watch.outcome is None:
            try:
                async for row in self._rows(watch):
                    yield row
            except Unreachable:
                watch.outcome = await self._last_word()
                if watch.was_heard:
                    reached = time.monotonic()
                if watch.outcome is None and time.monotonic() - reached > patience_seconds:
                    raise
            else:
                reached = time.monotonic()
            if watch.outcome is None:
                await asyncio.sleep(AGAIN_SECONDS)
        self.outcome = watch.outcome

    async def report(self) -> dict[str, Any]:
        """Return the report of a finished run; raise Refused before."""
        report: dict[str, Any] = await self._ask("GET", "/v1/run/report")
        return report

    async def set_load(
        self,
        *,
        users: int | None = None,
        rate: int | None = None,
        spawn_rate: int | None = None,
        scenario: str | None = None,
    ) -> None:
        """Ask a scenario with a constant load for another one (local runs only); raise Refused if it cannot be."""
        await self._ask("POST", "/v1/run/load", load_wish(users, rate, spawn_rate=spawn_rate, scenario=scenario))

    async def pause(self) -> None:
        """Ask nothing of the target until resumed (local runs only: in a cluster the LoadTest says what is wanted)."""
        await self._ask("POST", "/v1/run/pause")

    async def resume(self) -> None:
        """End a pause (local runs only)."""
        await self._ask("POST", "/v1/run/resume")

    async def stop(self, *, immediate: bool = False) -> None:
        """End the run and keep its results (local runs only); `immediate` gives iterations ten seconds at most."""
        await self._ask("POST", "/v1/run/stop", b'{"immediate": true}' if immediate else b"")

    async def _last_word(self) -> Outcome | None:
        """Return how the run ended, if that is known though it does not answer."""
        return self.outcome

    async def _rows(self, watch: Watch) -> AsyncIterator[Row]:
        """Yield rows over one connection."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CALL_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._exchange("GET", watch.path(), limits=limits) as answer:
            if answer.status != 200:  # noqa: PLR2004 as HTTP has it
                answer_of(answer.status, await answer.read())
            async for received in answer.content.iter_any():
                for row in watch.read(received):
                    yield row

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        limits = aiohttp.ClientTimeout(total=CALL_SECONDS)
        async with self._exchange(method, path, body=body, limits=limits) as answer:
            return answer_of(answer.status, await answer.read())

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        limits: aiohttp.ClientTimeout,
        body: bytes = b"",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask once, over a connection of its own, so that a run belongs to no event loop."""
        address = self.address
        connector = None if address.socket is None else aiohttp.UnixConnector(address.socket)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limits) as session,
                session.request(
                    method, address.url + path, data=body or None, headers=address.headers, ssl=address.tls or True
                ) as answer,
            ):
                yield answer
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"the run at {address} does not answer: {error}") from error


class LocalRun(Run):
    """A run on this machine that this program has started. It goes on if the program ends, and can be found again.

    Attributes:
        place: its folder, with the socket for `connect`, the log, the status and the report.
    """

    def __init__(self, process: asyncio.subprocess.Process, place: Place) -> None:
        super().__init__(parse_address(f"unix:{place.socket}"))
        self.place = place
        self._process = process

    @property
    def is_over(self) -> bool:
        """Whether the run, and every process of it, has ended."""
        return self._process.returncode is not None

    async def wait(self) -> Outcome:
        """Wait until the run has ended and return how."""
        await self._process.wait()
        self.outcome = await asyncio.to_thread(self.place.outcome)
        return self.outcome

    async def report(self) -> dict[str, Any]:
        """Return the report of a finished run; raise Refused before."""
        if not self.is_over:
            with suppress(Unreachable):
                return await super().report()
            await self._process.wait()
        return await asyncio.to_thread(self.place.report)

    async def _last_word(self) -> Outcome | None:
        """Return how the run ended, once it has, from what it left."""
        return await asyncio.to_thread(self.place.outcome) if self.is_over else None

    async def close(self) -> None:
        """Stop the run if it goes on, wait for its end, and delete its folder if nobody has named one."""
        if not self.is_over:
            with suppress(Unreachable, Refused):
                await self.stop(immediate=True)
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        await self._process.wait()
        await asyncio.to_thread(self.place.leave)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect(address: str, *, token: str = "", tls: ssl.SSLContext | None = None) -> Run:
    """Return the run at an address; nothing is opened yet. The arguments are those of `loadstone_client.connect`."""
    return Run(parse_address(address, token, tls))


async def start(
    file: str | Path,
    *,
    settings: Mapping[str, object] | None = None,
    folder: str | Path | None = None,
    command: Sequence[str] = COMMAND,
) -> LocalRun:
    """Start the LoadTest in a file on this machine and return it once it can be controlled.

    The arguments are those of `loadstone_client.start`.

    Raises:
        StartFailed: it could not be started; the message holds what it said.
    """
    place = make_place(folder)
    with place.unless_started(file):
        arguments = place.command(Path(file), settings or {}, command)
        with place.begin() as log:
            process = await asyncio.create_subprocess_exec(
                *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    run = LocalRun(process, place)
    try:
        await _await_start(run, process, file)
    except BaseException:
        # Nobody gets this run in hand, so nobody else could end it.
        await asyncio.shield(run.close())
        raise
    return run


async def _await_start(run: LocalRun, process: asyncio.subprocess.Process, file: str | Path) -> None:
    """Return once the run can be controlled; raise StartFailed if it has ended, or does not come up."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(Unreachable):
            await run.state()
            return
        if run.is_over or time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                process.kill()
            raise run.place.failed(file, run.place.tail())
        await asyncio.sleep(AGAIN_SECONDS / 10)

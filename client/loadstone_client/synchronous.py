"""The blocking client. Every call is one HTTP exchange of its own, so a run may be used by several threads."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from loadstone_client.errors import Refused, Unreachable
from loadstone_client.launching import COMMAND, Place, make_place
from loadstone_client.values import Outcome, Row, State, Tier, state_from
from loadstone_client.wire import Address, Watch, answer_of, load_wish, parse_address

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

CALL_SECONDS: Final = 10.0
SILENCE_SECONDS: Final = 30.0  # the API says something every ten
AGAIN_SECONDS: Final = 0.5
READ_BYTES: Final = 65_536
START_SECONDS: Final = 30.0


class Run:
    """A run whose control API is at an address.

    Attributes:
        outcome: how it ended, once that is known here.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.outcome: Outcome | None = None

    def state(self) -> State:
        """Return the whole state of the run, now."""
        return state_from(self._ask("GET", "/v1/run"))

    def watch(self, tier: Tier = "1s", *, from_second: int = 0, patience_seconds: float = 30.0) -> Iterator[Row]:
        """Yield closed rows, those of the past first, then each when it is closed, until the run is over.

        A connection that breaks is made anew, and no row is missed or repeated.

        Args:
            tier: how wide the rows are.
            from_second: of the load; earlier rows are left out.
            patience_seconds: how long the run may be unreachable before Unreachable is raised.
        """
        watch = Watch(tier, from_second)
        reached = time.monotonic()
        while watch.outcome is None:
            try:
                yield from self._rows(watch)
            except Unreachable:
                watch.outcome = self._last_word()
                if watch.was_heard:
                    reached = time.monotonic()
                if watch.outcome is None and time.monotonic() - reached > patience_seconds:
                    raise
            else:
                reached = time.monotonic()
            if watch.outcome is None:
                time.sleep(AGAIN_SECONDS)
        self.outcome = watch.outcome

    def report(self) -> dict[str, Any]:
        """Return the report of a finished run; raise Refused before."""
        report: dict[str, Any] = self._ask("GET", "/v1/run/report")
        return report

    def set_load(
        self,
        *,
        users: int | None = None,
        rate: int | None = None,
        spawn_rate: int | None = None,
        scenario: str | None = None,
    ) -> None:
        """Ask a scenario with a constant load for another one (local runs only); see `Run.pause`.

        Raises:
            Refused: it cannot be asked of this run; the message says why.
        """
        self._ask("POST", "/v1/run/load", load_wish(users, rate, spawn_rate=spawn_rate, scenario=scenario))

    def pause(self) -> None:
        """Ask nothing of the target until resumed (local runs only: in a cluster the LoadTest says what is wanted)."""
        self._ask("POST", "/v1/run/pause")

    def resume(self) -> None:
        """End a pause (local runs only)."""
        self._ask("POST", "/v1/run/resume")

    def stop(self, *, immediate: bool = False) -> None:
        """End the run and keep its results (local runs only); `immediate` gives iterations ten seconds at most."""
        self._ask("POST", "/v1/run/stop", b'{"immediate": true}' if immediate else b"")

    def _last_word(self) -> Outcome | None:
        """Return how the run ended, if that is known though it does not answer."""
        return self.outcome

    def _rows(self, watch: Watch) -> Iterator[Row]:
        """Yield rows over one connection."""
        with closing(self._connection(SILENCE_SECONDS)) as connection:
            try:
                connection.request("GET", watch.path(), headers=self.address.headers)
                answer = connection.getresponse()
                if answer.status != http.client.OK:
                    answer_of(answer.status, answer.read())
                while received := answer.read1(READ_BYTES):
                    yield from watch.read(received)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"the run at {self.address} does not answer: {error}") from error

    def _ask(self, method: str, path: str, body: bytes = b"") -> Any:
        with closing(self._connection(CALL_SECONDS)) as connection:
            try:
                connection.request(method, path, body=body or None, headers=self.address.headers)
                answer = connection.getresponse()
                return answer_of(answer.status, answer.read())
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"the run at {self.address} does not answer: {error}") from error

    def _connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self.address.socket is not None:
            return _UnixConnection(self.address.socket, timeout_seconds)
        host, port, context = self.address.host, self.address.port, self.address.tls
        if context is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout_seconds)


class LocalRun(Run):
    """A run on this machine that this program has started. It goes on if the program ends, and can be found again.

    Attributes:
        place: its folder, with the socket for `connect`, the log, the status and the report.
    """

    def __init__(self, process: subprocess.Popen[bytes], place: Place) -> None:
        super().__init__(parse_address(f"unix:{place.socket}"))
        self.place = place
        self._process = process

    @property
    def is_over(self) -> bool:
        """Whether the run, and every process of it, has ended."""
        return self._process.poll() is not None

    def wait(self, timeout_seconds: float | None = None) -> Outcome:
        """Wait until the run has ended and return how; raise TimeoutError if it has not in time."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the run in {self.place.folder} has not ended in {timeout_seconds} s") from error
        self.outcome = self.place.outcome()
        return self.outcome

    def report(self) -> dict[str, Any]:
        """Return the report of a finished run; raise Refused before."""
        if self.is_over:
            return self.place.report()
        try:
            return super().report()
        except Unreachable:
            self._process.wait(CALL_SECONDS)
            return self.place.report()

    def _last_word(self) -> Outcome | None:
        """Return how the run ended, once it has, from what it left."""
        return self.place.outcome() if self.is_over else None

    def close(self) -> None:
        """Stop the run if it goes on, wait for its end, and delete its folder if nobody has named one."""
        if not self.is_over:
            with suppress(Unreachable, Refused):
                self.stop(immediate=True)
            self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self.place.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(address: str, *, token: str = "", tls: ssl.SSLContext | None = None) -> Run:
    """Return the run at `unix:PATH`, `http://HOST:PORT` or `https://HOST:PORT`; nothing is opened yet.

    Args:
        address: of a local run's socket, of a master's port `control` in a cluster, or of an ingress before that.
        token: the content of the Secret in `spec.control.tokenSecret`; a local run has none.
        tls: how the server at an https address is known; None: by the authorities that this machine trusts.
    """
    return Run(parse_address(address, token, tls))


def start(
    file: str | Path,
    *,
    settings: Mapping[str, object] | None = None,
    folder: str | Path | None = None,
    command: Sequence[str] = COMMAND,
) -> LocalRun:
    """Start the LoadTest in a file on this machine and return it once it can be controlled.

    Args:
        file: with one LoadTest.
        settings: fields of its spec to be changed first, as `{"load.users": 50}`.
        folder: for socket, log, status and report of one run at a time; None: a temporary one, removed by `close`.
        command: that is `loadstone`; default: this Python's.

    Raises:
        StartFailed: it could not be started; the message holds what it said.
    """
    place = make_place(folder)
    with place.unless_started(file):
        arguments = place.command(Path(file), settings or {}, command)
        with place.begin() as log:
            process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    run = LocalRun(process, place)
    try:
        _await_start(run, process, file)
    except BaseException:
        # Nobody gets this run in hand, so nobody else could end it.
        run.close()
        raise
    return run


def _await_start(run: LocalRun, process: subprocess.Popen[bytes], file: str | Path) -> None:
    """Return once the run can be controlled; raise StartFailed if it has ended, or does not come up."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(Unreachable):
            run.state()
            return
        if run.is_over or time.monotonic() > deadline:
            process.kill()
            raise run.place.failed(file, run.place.tail())
        time.sleep(AGAIN_SECONDS / 10)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("run", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

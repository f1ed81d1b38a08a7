"""Refuse plain functions of a script what only an engine can do, in the process of a message handler. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadstone.messages import To
    from loadstone.metrics import MetricKind


class Apart:
    """What a script finds at its seat where no engine is; a `loadstone.seat.Engine`. Everything raises RuntimeError."""

    __slots__ = ()

    def check(self, name: str, *, ok: bool, labels: Mapping[str, str]) -> NoReturn:  # noqa: ARG002 of the protocol
        """Refuse a check."""
        _refuse(f"check({name!r})")

    def record(self, kind: MetricKind, name: str, value: object, labels: Mapping[str, object]) -> NoReturn:  # noqa: ARG002
        """Refuse a sample."""
        _refuse(f"the {kind} {name!r}")

    def begin_measured(self) -> NoReturn:
        """Refuse to measure a call."""
        _refuse("measure")

    def end_measured(self, **_fields: Any) -> NoReturn:
        """Refuse to measure a call."""
        _refuse("measure")

    def next_row(self, feeder: str, count: int = 0) -> NoReturn:  # noqa: ARG002 of the protocol
        """Refuse a row that nobody else gets."""
        _refuse(f"the feeder {feeder!r} with order='unique'")

    def count_error(self, kind: str, message: str, name: str) -> None:
        """Do nothing: who counts an error here raises it, too, and so it fails the message."""

    def stop_run(self, why: str) -> NoReturn:  # noqa: ARG002 of the protocol
        """Refuse to end the run."""
        _refuse("stop_run")

    def send_message(self, name: str, data: Any, to: To | None) -> NoReturn:  # noqa: ARG002 of the protocol
        """Refuse a message."""
        _refuse(f"send_message({name!r})")

    def log_durably(self, text: str, timeout: float) -> NoReturn:  # noqa: ARG002 of the protocol
        """Refuse a line that nothing could lose."""
        _refuse("log(durable=True)")


def _refuse(what: str) -> NoReturn:
    raise RuntimeError(
        f"{what} cannot be used in a handler with where='process'; return what it should know and do it in the sender,"
        " with the result of the receipt"
    )

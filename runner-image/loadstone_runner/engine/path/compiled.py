"""The compiled flavour of the hot path: what is in C, joined with the Python that both flavours share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from loadstone_core.stats.metrics import Kind
from loadstone_core.stats.recorder import Recorder
from loadstone_runner.engine import instruments
from loadstone_runner.engine.http.client import FIELDS, Client
from loadstone_runner.engine.http.connection import Exchange
from loadstone_runner.engine.path._compiled import (
    Asker,
    Endpoint,
    Ledger,
    Prepared,
    Runner,
    Tally,
    Tasks,
    Trend,
    Usher,
    Wire,
)

if TYPE_CHECKING:
    from loadstone_core.stats.histogram import Histogram
    from loadstone_core.stats.pairs import Endpoint as AnyEndpoint
    from loadstone_core.stats.series import Series
    from loadstone_core.stats.series import Tally as AnyTally
    from loadstone_runner.engine.http.outfit import Outfit
    from loadstone_runner.engine.http.requests import Written
    from loadstone_runner.engine.http.resolution import Resolver

__all__ = ["Channel", "HttpClient", "Instruments", "Runner", "Tasks", "Usher"]

# Fields that are C's cannot be slots as well.
_SLOTS: Final = tuple(field for field in FIELDS if not hasattr(Asker, field))


class Channel(Wire, Exchange):
    """One open connection; carries one exchange at a time."""

    __slots__ = ()


class HttpClient(Asker, Client):
    """The client of one user, or of setup and teardown."""

    __slots__ = _SLOTS

    _connect = Channel
    _request = Client.request

    def __init__(self, outfit: Outfit, instruments: instruments.Instruments, resolver: Resolver) -> None:
        Client.__init__(self, outfit, instruments, resolver)
        self._idle = self._pool.idle

    @staticmethod
    def _prepared(written: Written) -> Written:
        return cast("Written", Prepared(written))


class Instruments(Ledger, instruments.Instruments):
    """Everything that one engine measures."""

    _check_labelled = instruments.Instruments.check

    def _recorder(self) -> Recorder:
        return Recorder(make_cell=_cell_of, make_endpoint=_endpoint)


def _cell_of(kind: Kind) -> Histogram | AnyTally:
    # What records in C has what a recorder needs of these, and no more.
    return cast("Histogram | AnyTally", Trend() if kind is Kind.TREND else Tally())


def _endpoint(latency: Series, service: Series) -> AnyEndpoint:
    return cast("AnyEndpoint", Endpoint(latency, service))

"""Hold how one run ended, its outcome and its report, and note who has heard of that."""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256
from typing import TYPE_CHECKING

from loadstone_runner.master.conclusion import conclude_run, last_word_of, not_concluded
from loadstone_runner.master.report import report_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadstone_protocol.views import OutcomeView
    from loadstone_runner.master.conclusion import End
    from loadstone_runner.master.store import Store
    from loadstone_runner.master.views import Times

log = logging.getLogger(__name__)


class Ending:
    """The end of one run, which is empty until the run is concluded.

    Attributes:
        outcome: the verdict and the numbers.
        findings: what is to be known beside them.
        report: the whole as it is stored, and its sha256.
        finished: nothing of the outcome changes any more.
        stored: a follower has stored the report.
        all_left: nobody is connected any more who was not let go.
    """

    def __init__(self, store: Store) -> None:
        self.outcome: OutcomeView | None = None
        self.findings: tuple[str, ...] = ()
        self.report = (b"", b"")
        self.finished = asyncio.Event()
        self.stored = asyncio.Event()
        self.all_left = asyncio.Event()
        self._store = store

    def conclude(self, sum_up: Callable[[], End], times: Times) -> None:
        """Conclude the run from what `sum_up` returns; what is wrong with that must not leave it without an end."""
        try:
            self._conclude(sum_up(), times)
        except Exception as error:
            log.exception("The run could not be concluded")
            self.outcome = self.outcome or not_concluded(error)

    def keep_word(self) -> bool:
        """Keep the last word, before the run is finished on disk; return whether the disk took it.

        A later start of this master says this and nothing more.
        """
        return self.outcome is None or self._store.write_last_word(last_word_of(self.outcome))

    def _conclude(self, end: End, times: Times) -> None:
        conclusion = conclude_run(end)
        content = report_of(conclusion, end, times)
        self.report = (content, sha256(content).digest())
        self.findings = conclusion.outcome.findings
        self.outcome = conclusion.to_view(self.report[1])
        self._store.write_report(content)

"""Set kopf up as a thin shell: it watches, and does nothing by itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import kopf

from loadstone_operator import naming
from loadstone_operator.cluster.api import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_BACKOFF_SECONDS = 5.0


class EndlessBackoff:
    """Delays between attempts, for as long as it takes: 0.5 s, doubling to 5 s, each shortened by chance."""

    def __iter__(self) -> Iterator[float]:
        """Yield delays in seconds, for ever."""
        delay = 0.5
        while True:
            yield delay * random.uniform(0.5, 1.0)  # noqa: S311 (no secret hangs on it)
            delay = min(delay * 2, _LONGEST_BACKOFF_SECONDS)


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last state: nothing here follows from a difference.

    To copy each object for one was two fifths of what kopf does for an event.
    """

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:  # noqa: ARG002 (kopf's signature)
        """Return an essence without anything in it."""
        return {}

    def fetch(self, *, body: Any) -> Any:  # noqa: ARG002
        """Return that nothing was kept."""
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Keep nothing."""


def framework_settings() -> kopf.OperatorSettings:
    """Return kopf's settings, with a reason for each that differs from its default."""
    settings = kopf.OperatorSettings()
    # No discovery: the kinds are known, and rights to list all CRDs and namespaces are not needed.
    settings.scanning.disabled = True
    # An outage of any length is survived, and its end noticed within seconds.
    settings.networking.error_backoffs = EndlessBackoff()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = PAGE
    # The server sends only our pods, however many others there are.
    settings.watching.label_selectors["pods"] = naming.MANAGED_SELECTOR
    # Handlers only enqueue: a limit would hold objects back while idle slots expire.
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.5
    # A shutdown that hangs would leave a process that ignores SIGTERM.
    settings.process.ultimate_exiting_timeout = 20
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = NoDiffBase()
    # Events are ours to tell.
    settings.posting.enabled = False
    return settings

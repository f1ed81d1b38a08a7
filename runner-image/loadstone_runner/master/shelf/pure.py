"""The flavour of the master's hot path that needs no compiler: its parts, each from where it belongs."""

from loadstone_core.stats.held import Held
from loadstone_core.stats.series import cell_of
from loadstone_protocol.codec import series_from_bytes as read_series

__all__ = ["Held", "cell_of", "read_series"]

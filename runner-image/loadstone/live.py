"""Values that may change while the script runs. Where they come from, and when, belongs to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from loadstone import seat

if TYPE_CHECKING:
    from collections.abc import Iterator


class Config(Mapping[str, str]):
    """The LoadTest's `spec.config`: text by name, read-only here, and live: each look-up gives the newest value.

    An edit of the LoadTest reaches every engine within about a second, all its values at once. Empty outside of a run.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> str:
        return seat.config[name]

    def __iter__(self) -> Iterator[str]:
        # Over one version, also when a new one comes while the script iterates.
        return iter(seat.config)

    def __len__(self) -> int:
        return len(seat.config)

    def __repr__(self) -> str:
        return f"config({dict(seat.config)!r})"


config: Final = Config()

from collections.abc import Callable, Iterable, Iterator, Mapping

from loadstone_core.stats.held import Growth
from loadstone_core.stats.metrics import Kind, SeriesKey
from loadstone_core.stats.series import Series
from loadstone_core.stats.stream import SeriesState

class PackedSeries(SeriesState): ...

class Reader:
    def __init__(
        self,
        kinds: Mapping[int, Kind],
        *,
        decode_key: Callable[[bytes], SeriesKey],
        canonical: Callable[[bytes], bytes],
        refuse: Callable[[str], Exception],
        most_keys: int,
    ) -> None: ...
    def read(self, content: bytes, /) -> SeriesState: ...

class Changes:
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[int, int]]: ...

class Held:
    sequence: int
    target: Series
    def __init__(self, target: Series) -> None: ...
    def replace(self, state: SeriesState, *, sequence: int) -> Growth: ...

class Buckets:
    def add(self, changes: Iterable[tuple[int, int]], /) -> None: ...
    def shown(self) -> dict[int, int]: ...
    def clear(self) -> None: ...

"""Make the model that a configuration asks for out of a script. Starting and stopping it belongs to `host`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from loadstone_core.load.profile import Model
from loadstone_runner.engine.arrivals import ArrivalModel
from loadstone_runner.engine.cast import Cast
from loadstone_runner.engine.closed import ClosedModel
from loadstone_runner.engine.grants import Grants
from loadstone_runner.engine.http.outfit import prepare
from loadstone_runner.engine.http.resolution import Resolver
from loadstone_runner.engine.native import Role, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone_protocol.codec import LoadOrder
    from loadstone_runner.engine.instruments import Instruments
    from loadstone_runner.engine.population import Population
    from loadstone_runner.engine.script import Script

# Before an engine says that it is ready: a name server that is silent must not hold a whole run up.
_LOOK_UP_SECONDS: Final = 3.0


class LoadModel(Protocol):
    """What drives users.

    Attributes:
        population: that it drives.
        first_start_ns: when the first iteration began, on the monotonic clock; 0: none has.
    """

    population: Population
    first_start_ns: int

    def start(self, start_at_ns: int) -> None:
        """Follow the profile, whose start is that moment of the monotonic clock."""
        ...

    def stop(self) -> None:
        """Begin no further iteration."""
        ...

    def grant(self, first: int, ranges: Sequence[range]) -> None:
        """Take ranges of iterations, of which the first has the number `first`."""
        ...

    def take_slips(self) -> list[int]:
        """Return by how many nanoseconds iterations were started late since the last call."""
        ...

    @property
    def iterations_left(self) -> int:
        """How many granted iterations have not begun."""
        ...

    @property
    def ranges_taken(self) -> int:
        """How many granted ranges are used up."""
        ...


def make_model(
    script: Script, order: LoadOrder, *, slot: int, slots: int, setup_data: Any, instruments: Instruments
) -> LoadModel:
    """Return the model of this slot's part of a load.

    Raises:
        ValueError: the weights of the script's classes cannot be used together, or options of their clients.
    """
    roles = tuple(Role(each) for each in script.users)
    cast = Cast([each.weight for each in script.users], [each.fixed_count for each in script.users])
    scene = Scene(roles, order.target or "", setup_data, instruments, Resolver(), outfits={})
    prepare([scene.outfit_of(role.made) for role in roles], scene.resolver, _LOOK_UP_SECONDS)
    load = order.load
    if load.model is Model.RATE:
        return ArrivalModel(scene, cast, load=load, slot=slot, slots=slots)
    grants = Grants() if load.model is Model.ITERATIONS else None
    return ClosedModel(scene, cast, profile=load.profile, slot=slot, slots=slots, grants=grants)

"""What goes wrong with the control API itself. Who catches it need not have what the API is made of."""

from loadstone_core.errors import WorldError


class ControlError(WorldError):
    """The control API cannot be served where or how it should be; the message says what to do."""

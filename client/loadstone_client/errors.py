"""What goes wrong between a program and the run that it watches."""


class ClientError(Exception):
    """Anything that this client raises on purpose."""


class StartFailed(ClientError):  # noqa: N818 a state of the world, named as such
    """`loadstone run` ended before it could be controlled; the message holds what it said."""


class Unreachable(ClientError):  # noqa: N818 likewise
    """The run does not answer; it may again, and it goes on without being watched."""


class Refused(ClientError):  # noqa: N818 likewise
    """The run answers, and what was asked cannot be; the message is its sentence.

    Attributes:
        status: of HTTP: 400 cannot be meant, 401 a wrong token, 403 and 409 not of this run, 404 not yet.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

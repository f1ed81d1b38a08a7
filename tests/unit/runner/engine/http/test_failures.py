import errno

import pytest

from loadstone_runner.engine.http.failures import FailureKind, connect_error, take_exhausted


@pytest.mark.parametrize(
    ("number", "kind", "is_ours"),
    [
        (errno.EMFILE, FailureKind.NO_FILES, True),
        (errno.ENFILE, FailureKind.NO_FILES, True),
        (errno.EADDRNOTAVAIL, FailureKind.NO_PORTS, True),
        (errno.ENOBUFS, FailureKind.NO_MEMORY, True),
        (errno.ENOMEM, FailureKind.NO_MEMORY, True),
        (errno.ECONNREFUSED, FailureKind.REFUSED, False),
        (errno.ENETUNREACH, FailureKind.UNREACHABLE, False),
        (0, FailureKind.UNREACHABLE, False),
    ],
)
def test_what_this_machine_lacks_is_counted_apart_from_what_the_target_does(number, kind, is_ours) -> None:
    take_exhausted()

    error = connect_error(number, "words")

    assert (error.kind, str(error)) == (kind, "words")
    assert take_exhausted() == int(is_ours)
    assert take_exhausted() == 0

"""Who is let in to a control API."""

import pytest

from loadstone_runner.transport.admission import Admission


def test_who_says_the_token_is_let_in() -> None:
    assert Admission("s3cret").lets_in("Bearer s3cret")
    assert Admission("s3cret").lets_in("bearer  s3cret ")


@pytest.mark.parametrize(
    "told", ["", "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret", "Bearer \udcff"]
)
def test_whoever_does_not_is_not(told: str) -> None:
    assert not Admission("s3cret").lets_in(told)


def test_an_empty_token_lets_nobody_in_by_being_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Admission("")

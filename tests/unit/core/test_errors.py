import pytest

from loadstone_core.errors import InternalError, LoadstoneError, Problem, SpecInvalidError, UserError, WorldError

PROBLEMS = (Problem("spec.load", "there is no load"), Problem("spec.source", "set one"))


def test_every_family_can_be_caught_as_ours() -> None:
    for family in (UserError, WorldError, InternalError):
        assert issubclass(family, LoadstoneError)


def test_an_invalid_spec_is_the_users_fault_and_lists_every_problem() -> None:
    error = SpecInvalidError(iter(PROBLEMS))

    assert isinstance(error, UserError)
    assert error.problems == PROBLEMS
    assert str(error) == "spec.load: there is no load; spec.source: set one"


def test_a_problem_reads_as_path_and_sentence() -> None:
    assert str(PROBLEMS[0]) == "spec.load: there is no load"


def test_a_problem_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        PROBLEMS[0].path = "elsewhere"  # type: ignore[misc]

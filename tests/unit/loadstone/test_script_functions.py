from collections.abc import Iterator

import pytest

from loadstone import check, hooks, seat, setup, teardown


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple] = []

    def check(self, name: str, *, ok: bool, labels) -> None:
        self.heard.append((name, ok, dict(labels)))


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    seat.take(made)
    yield made
    seat.take(None)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    hooks.forget()
    yield
    hooks.forget()


@pytest.mark.promise("script-checks")
def test_a_check_records_and_returns_whether_it_holds(listener) -> None:
    assert check("answers", b"hello".startswith(b"h")) is True
    assert check("has a body", [], step="cart") is False

    assert listener.heard == [("answers", True, {}), ("has a body", False, {"step": "cart"})]


def test_a_check_outside_of_an_engine_only_returns() -> None:
    assert check("answers", 1) is True


def test_setup_and_teardown_are_found_and_stay_what_they_are() -> None:
    def prepare(run) -> None: ...
    def clean(run) -> None: ...

    assert (setup(prepare), teardown(clean)) == (prepare, clean)
    assert (hooks.setup_function(), hooks.teardown_function()) == (prepare, clean)


def test_a_script_without_them_has_none() -> None:
    assert (hooks.setup_function(), hooks.teardown_function()) == (None, None)


def test_a_second_setup_is_refused_by_name() -> None:
    @setup
    def prepare(run) -> None: ...

    with pytest.raises(ValueError, match="prepare is it already"):
        setup(prepare)


@pytest.mark.parametrize("function", [lambda: None, lambda _run, _data: None])
def test_a_setup_must_take_the_run(function) -> None:
    with pytest.raises(ValueError, match="one parameter, the run"):
        setup(function)

from collections.abc import Iterator

import pytest

from loadstone import events, measure, seat


class Listener:
    def __init__(self) -> None:
        self.begun = 0
        self.heard: list[dict] = []

    def begin_measured(self) -> int:
        self.begun += 1
        return 7

    def end_measured(self, **told) -> None:
        self.heard.append(told)


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    made = Listener()
    seat.take(made)
    yield made
    seat.take(None)


class GreenletExit(BaseException):
    """Stands for gevent's, which is not loaded here."""


def test_a_block_is_one_call_with_what_it_says_of_itself(listener) -> None:
    with measure("SELECT", protocol="postgres", size=3, tenant="a") as call:
        call.size = 12
        call.failure("no rows")

    told = listener.heard[0]
    assert listener.begun == 1
    assert told.pop("service_ns") >= 0
    assert told == {
        "protocol": "postgres",
        "name": "SELECT",
        "delay_ns": 7,
        "error": "no rows",
        "message": "",
        "interrupted": False,
        "size": 12,
        "context": {"tenant": "a"},
    }


def test_an_exception_is_a_failure_of_its_class_and_goes_on(listener) -> None:
    with pytest.raises(KeyError), measure("SELECT"):
        raise KeyError("id")

    assert (listener.heard[0]["error"], listener.heard[0]["message"]) == ("KeyError", "'id'")
    assert listener.heard[0]["protocol"] == "custom"


def test_an_exception_without_a_text_is_counted_all_the_same(listener) -> None:
    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError

    with pytest.raises(BrokenError), measure("SELECT"):
        raise BrokenError

    assert (listener.heard[0]["error"], listener.heard[0]["message"]) == ("BrokenError", "")


def test_what_the_end_of_the_run_cuts_off_is_interrupted_and_no_exception(listener) -> None:
    with pytest.raises(GreenletExit), measure("SELECT"):
        raise GreenletExit

    assert (listener.heard[0]["error"], listener.heard[0]["interrupted"]) == ("interrupted", True)


def test_a_decorated_function_is_measured_at_each_call_also_within_itself(listener) -> None:
    @measure("depth", protocol="own")
    def count(depth: int) -> int:
        """Count."""
        return 0 if not depth else 1 + count(depth - 1)

    assert (count(3), count.__doc__, listener.begun) == (3, "Count.", 4)
    assert [told["error"] for told in listener.heard] == [None] * 4


def test_a_call_can_be_failed_only_while_it_is_measured_and_measured_only_once_at_a_time() -> None:
    call = measure("SELECT")
    with pytest.raises(RuntimeError, match="inside of"):
        call.failure("early")
    with call, pytest.raises(RuntimeError, match="being measured already"):
        call.__enter__()
    with pytest.raises(RuntimeError, match="inside of"):
        call.failure("late")


def test_the_same_object_measures_one_block_after_the_other(listener) -> None:
    call = measure("SELECT")
    with call:
        call.failure("once")
    with call:
        pass

    assert [told["error"] for told in listener.heard] == ["once", None]


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), "many", None])
def test_a_size_that_is_none_counts_as_nothing(listener, size) -> None:
    with measure("SELECT") as call:
        call.size = size

    assert listener.heard[0]["size"] == 0


def test_outside_of_an_engine_a_block_just_runs() -> None:
    seat.take(None)

    with measure("SELECT") as call:
        call.size = 7
    events.request.fire(request_type="x", name="y", response_time=1)

    assert (call.size, call.error) == (7, None)


@pytest.mark.parametrize(
    ("exception", "error", "message"),
    [(None, None, ""), ("", None, ""), ("refused", "refused", ""), (ValueError("no"), "ValueError", "no")],
)
def test_a_fired_request_is_recorded_in_the_words_of_locust(listener, exception, error, message) -> None:
    events.request.fire(
        request_type="grpc",
        name="Charge",
        response_time=1.5,
        response_length=9,
        exception=exception,
        context={"a": 1},
        start_time=0,
    )

    told = listener.heard[0]
    assert (told["service_ns"], told["size"], told["error"], told["message"]) == (1_500_000, 9, error, message)
    assert (told["protocol"], told["name"], told["context"]) == ("grpc", "Charge", {"a": 1})
    # How late its iteration began is told once, so whoever takes it has to record it.
    assert told["delay_ns"] == 7


@pytest.mark.parametrize("milliseconds", [86_400_001, 1_780_000_000_000.0, 1e300])
def test_a_moment_that_is_told_as_a_duration_counts_as_a_day(listener, milliseconds) -> None:
    events.request.fire(request_type="mqtt", name="publish", response_time=milliseconds)

    assert listener.heard[0]["service_ns"] == 86_400 * 10**9


@pytest.mark.parametrize("milliseconds", [None, "slow", float("nan"), [1]])
def test_a_fired_request_without_a_usable_time_is_completed_all_the_same(listener, milliseconds) -> None:
    events.request.fire(request_type="mqtt", name="publish", response_time=milliseconds)

    assert (listener.begun, [told["service_ns"] for told in listener.heard]) == (1, [0])


def test_what_a_block_is_called_in_the_end_is_text_whatever_the_script_has_set(listener) -> None:
    with measure("SELECT") as call:
        call.name, call.protocol, call.error = 7, None, ValueError("no rows")

    told = listener.heard[0]
    assert (told["name"], told["protocol"], told["error"]) == ("7", "None", "no rows")


@pytest.mark.parametrize("size", [(1 << 40) + 1, 1 << 62, 1 << 80, 1e300])
def test_a_size_beyond_a_tebibyte_counts_as_one_so_that_it_hides_no_others(listener, size) -> None:
    with measure("SELECT", size=size):
        pass
    events.request.fire(request_type="grpc", name="Charge", response_length=size)

    assert [told["size"] for told in listener.heard] == [1 << 40] * 2

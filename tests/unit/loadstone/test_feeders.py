from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone import StopUser, csv_feeder, jsonl_feeder, seat


class Rows:
    """Grants rows as a run does; counts errors."""

    def __init__(self, *numbers: int | None) -> None:
        self.numbers = list(numbers)
        self.asked: list[tuple[str, int]] = []
        self.errors: list[tuple] = []

    def next_row(self, feeder: str, count: int = 0) -> int | None:
        self.asked.append((feeder, count))
        return self.numbers.pop(0)

    def count_error(self, *error: str) -> None:
        self.errors.append(error)


@pytest.fixture(autouse=True)
def free() -> Iterator[None]:
    yield
    seat.take(None)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "users.csv").write_text('name,age\nada,36\n"b\nob",7\n\nc,\n')
    return str(tmp_path / "users.csv")


ADA, BOB, C = {"name": "ada", "age": "36"}, {"name": "b\nob", "age": "7"}, {"name": "c", "age": ""}


def test_sequential_rows_come_in_order_and_begin_again() -> None:
    feeder = csv_feeder(path_beside("sequence.csv", "a\n1\n2\n"))

    assert [feeder.next() for _ in range(5)] == [{"a": each} for each in "12121"]
    assert (len(feeder), next(feeder), next(iter(feeder))) == (2, {"a": "2"}, {"a": "1"})
    feeder.close()


def path_beside(name: str, content: str) -> str:
    # Relative to the file that asks.
    (Path(__file__).parent / name).write_text(content)
    return name


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    (Path(__file__).parent / "sequence.csv").unlink(missing_ok=True)


def test_every_call_gives_a_row_of_its_own(path) -> None:
    feeder = csv_feeder(path)
    feeder.next()["name"] = "changed"

    assert [feeder.next(), feeder.next(), feeder.next()] == [BOB, C, ADA]
    feeder.close()


def test_random_rows_are_rows(path) -> None:
    feeder = csv_feeder(path, order="random")

    assert {feeder.next()["name"] for _ in range(200)} == {"ada", "b\nob", "c"}
    feeder.close()


def test_rows_that_are_used_up_end_the_user_and_are_counted(path) -> None:
    seat.take(rows := Rows())
    feeder = csv_feeder(path, loop=False)

    assert [feeder.next() for _ in range(3)] == [ADA, BOB, C]
    for _ in range(2):
        with pytest.raises(StopUser, match="all 3 rows are used up"):
            feeder.next()
    assert rows.errors == [("feeder", "all 3 rows are used up", path)] * 2
    feeder.close()


@pytest.mark.promise("script-feeders")
def test_unique_rows_are_those_that_the_run_grants(path) -> None:
    seat.take(rows := Rows(2, 0, 3))
    feeder = csv_feeder(path, order="unique", name="people")

    assert [feeder.next(), feeder.next()] == [C, ADA]
    for _ in range(3):
        with pytest.raises(StopUser):
            feeder.next()
    assert rows.asked == [("people", 3)] * 3, "who knows that all are used asks no more"
    feeder.close()


def test_a_run_that_grants_nothing_more_ends_the_user(path) -> None:
    seat.take(Rows(None))
    feeder = csv_feeder(path, order="unique", loop=True)

    with pytest.raises(StopUser):
        feeder.next()
    feeder.close()


@pytest.mark.promise("script-feeders")
def test_unique_rows_that_loop_come_again_only_when_each_has_come(path) -> None:
    seat.take(Rows(*range(6)))
    feeder = csv_feeder(path, order="unique", loop=True)

    assert [feeder.next() for _ in range(6)] == [ADA, BOB, C, ADA, BOB, C]
    feeder.close()


def test_outside_of_a_run_unique_rows_are_counted_here(path) -> None:
    feeder = csv_feeder(path, order="unique")

    assert [feeder.next() for _ in range(3)] == [ADA, BOB, C]
    feeder.close()


CELLS = some.text(some.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(some.lists(some.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=8))
def test_what_a_csv_writer_wrote_is_read_again(tmp_path_factory, rows) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows(rows)
    feeder = csv_feeder(str(path), fields=["a", "b"])

    assert [list(feeder.next().values()) for _ in rows] == rows
    feeder.close()


def test_json_lines_are_any_values_each_time_anew(tmp_path) -> None:
    (tmp_path / "some.jsonl").write_bytes(b'\xef\xbb\xbf{"a": [1]}\n\n  3\n"x"')
    feeder = jsonl_feeder(str(tmp_path / "some.jsonl"))

    first = feeder.next()
    first["a"].append(2)
    assert [feeder.next(), feeder.next(), feeder.next()] == [3, "x", {"a": [1]}]
    feeder.close()


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        ("a,b\n1\n", {}, "row 1 has 1 columns instead of 2"),
        ("a,a\n1,2\n", {}, "have a name twice"),
        ('a\n"x"y\n', {}, "row 1: "),
        ("a\n1\n", {"order": "any"}, "order must be one of sequential, random, unique"),
        ("a\n1\n", {"order": "random", "loop": False}, "loop=False means nothing"),
        ("a\n", {}, "has no rows"),
    ],
)
def test_a_file_or_an_option_that_makes_no_sense_is_refused_at_once(tmp_path, content, options, problem) -> None:
    (tmp_path / "bad.csv").write_text(content)

    with pytest.raises(ValueError, match=problem):
        csv_feeder(str(tmp_path / "bad.csv"), **options)


def test_a_line_that_is_no_json_is_named(tmp_path) -> None:
    (tmp_path / "bad.jsonl").write_text("1\n{\n")

    with pytest.raises(ValueError, match="row 2 is no JSON"):
        jsonl_feeder(str(tmp_path / "bad.jsonl"))


def test_a_bad_row_far_behind_is_an_exception_of_the_task_that_gets_it(tmp_path) -> None:
    (tmp_path / "long.csv").write_bytes(b"a\n" + b"1\n" * 1_500 + b"\xff\n")
    feeder = csv_feeder(str(tmp_path / "long.csv"))

    with pytest.raises(ValueError, match="row 1501: 'utf-8' codec"):
        feeder.row(1_500)
    feeder.close()


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        csv_feeder("nowhere.csv")


def test_a_unique_feeder_whose_rows_nobody_could_grant_is_refused_where_it_is_made(path) -> None:
    with closing(csv_feeder(path, order="unique", name="x" * 249)) as feeder:
        assert feeder.count == 3
    with closing(csv_feeder(path, order="random", name="x" * 250)) as feeder:
        assert feeder.count == 3
    with pytest.raises(ValueError, match="a unique feeder's name has at most 249 characters; give it a name="):
        csv_feeder(path, order="unique", name="x" * 250)


def test_no_more_unique_feeders_are_made_than_rows_are_granted_for(path) -> None:
    with ExitStack() as kept:
        for number in (*range(96), 0):
            kept.enter_context(closing(csv_feeder(path, order="unique", name=str(number))))
        with pytest.raises(ValueError, match="96: a script has at most 96 unique feeders"):
            csv_feeder(path, order="unique", name="96")
    with closing(csv_feeder(path, order="unique", name="96")) as feeder:
        assert feeder.count == 3

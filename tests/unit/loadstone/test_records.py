from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from loadstone.records import RECORD_MAX, Records


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("records")


TEXTS = some.lists(some.text('ab",é', min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=60)


@given(TEXTS, some.integers(2, 9), some.randoms(use_true_random=False), some.booleans())
def test_every_record_is_found_whatever_the_order_and_however_few_places_are_kept(
    folder, texts, places, random, ends_with_a_line
) -> None:
    lines = [text.encode() for text in texts]
    path = folder / "some.txt"
    path.write_bytes(b"\n \r\n".join(lines) + (b"\n" if ends_with_a_line else b""))
    numbers = list(range(len(lines)))
    random.shuffle(numbers)
    records = Records(path, quoted=False, index_max=places)

    assert records.count == len(lines)
    assert len(records._places) <= places
    assert [records.read(number).strip(b"\r\n") for number in numbers] == [lines[number] for number in numbers]
    assert records.first().strip(b"\r\n") == lines[0]
    records.close()


def test_a_quoted_text_may_span_lines(folder) -> None:
    path = folder / "quoted.csv"
    path.write_bytes(b'name\n"a\n\n""b"""\nc\n')
    records = Records(path, quoted=True, skipped=1)

    assert (records.count, records.first()) == (2, b"name\n")
    assert [records.read(number) for number in (1, 0)] == [b"c\n", b'"a\n\n""b"""\n']
    records.close()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b"header\n", "has no rows"),
        (b'header\na\n"b\nc\n', "row 3: a quote is never closed"),
        (b"header\n" + b"x" * RECORD_MAX + b"y", "row 2 is longer than 1 MiB"),
        (b'header\n"' + b"x\n" * RECORD_MAX, "row 2 is longer than 1 MiB; is a quote never closed"),
    ],
)
def test_a_file_without_sound_records_is_refused(folder, content, problem) -> None:
    path = folder / "broken.csv"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=problem):
        Records(path, quoted=True, skipped=1)

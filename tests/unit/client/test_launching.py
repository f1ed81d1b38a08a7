"""The command line of a local run."""

from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st

from loadstone_client.launching import Place

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_a_setting_is_read_as_what_it_was(value: object) -> None:
    (told,) = [text for text in Place(Path("x")).command(Path("f"), {"a.b": value}, ()) if text.startswith("a.b=")]

    assert told.isascii()
    assert yaml.safe_load(told.removeprefix("a.b=")) == value

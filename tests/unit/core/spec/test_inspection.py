"""The walk over a document, on small declarations of its own: what is told does not depend on LoadTest's fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.spec.inspection import child, did_you_mean, inspect
from loadstone_core.spec.shape import (
    Flag,
    Free,
    Listing,
    Node,
    Quantity,
    Record,
    Rule,
    Table,
    Text,
    Whole,
    exactly_one,
    matching,
)

WORD = Text(about="A word.", shortest=1, longest=5, rules=(matching("[a-z]+", "must be small letters"),))
COUNT = Whole(about="A count.", least=1, most=10)
SMALLER = Rule(message="low must be below high", holds=lambda it: it["low"] < it["high"], needs=("low", "high"))
RANGE = Record(about="A range.", fields={"low": COUNT, "high": COUNT}, required=("low", "high"), rules=(SMALLER,))
NESTED = Record(about="Outer.", fields={"range": RANGE, "name": WORD, "on": Flag(about="Switch.", default=False)})

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def told(node: Node, value: object) -> list[str]:
    return [str(problem) for problem in inspect(node, value, "it").problems]


@pytest.mark.parametrize(
    ("node", "value", "sentence"),
    [
        (WORD, None, "is empty; give it a value or leave the field out"),
        (WORD, 5, "must be text; put it in quotes"),
        (WORD, True, "must be text; put it in quotes"),
        (WORD, ["a"], "must be text"),
        (WORD, "", "must not be empty"),
        (WORD, "abcdef", "must be at most 5 characters long"),
        (WORD, "a\ud800", "holds half a character (a lone surrogate); save the file as UTF-8"),
        (WORD, "A", "must be small letters"),
        (WORD, "a\n", "must be small letters"),
        (Text(about="One.", choices=("red",)), "re", 'must be red, not "re"'),
        (Text(about="One.", choices=("red", "blue")), "Blue", 'must be red or blue, not "Blue"; did you mean blue?'),
        (Text(about="One.", choices=("red", "blue")), "x" * 50, f'must be red or blue, not "{"x" * 40}..."'),
        (COUNT, 0, "must be a whole number from 1 to 10"),
        (COUNT, 11, "must be a whole number from 1 to 10"),
        (COUNT, 5.0, "must be a whole number from 1 to 10"),
        (COUNT, 1.5, "must be a whole number from 1 to 10"),
        (COUNT, float("nan"), "must be a whole number from 1 to 10"),
        (COUNT, float("inf"), "must be a whole number from 1 to 10"),
        (COUNT, True, "must be a whole number from 1 to 10"),
        (COUNT, "5", "must be a whole number from 1 to 10"),
        (Whole(about="Any."), "5", "must be a whole number"),
        (Flag(about="On."), "yes", "must be true or false"),
        (Flag(about="On."), 1, "must be true or false"),
        (Quantity(about="How much."), "lots", "must be a quantity such as 2, 500m or 1Gi"),
        (Quantity(about="How much."), -1, "must be a quantity such as 2, 500m or 1Gi"),
        (Quantity(about="How much."), True, "must be a quantity such as 2, 500m or 1Gi"),
        (Quantity(about="How much."), "1" * 65, "must be a quantity such as 2, 500m or 1Gi"),
        (Quantity(about="How much."), 2**63, "must be a quantity such as 2, 500m or 1Gi"),
        (Free(about="Any."), [], "must be a mapping"),
        (Listing(about="Some.", items=WORD), "a", "must be a list"),
        (Listing(about="Some.", items=WORD, fewest=1), [], "must not be empty"),
        (Listing(about="Some.", items=WORD, most=1), ["a", "b"], "must have at most 1 items"),
        (Table(about="By key.", values=WORD), "a", "must be a mapping"),
        (Table(about="By key.", values=WORD, most=1), {"a": "a", "b": "b"}, "must have at most 1 entries"),
        (Table(about="By key.", values=WORD), {1: "a"}, "must have keys that are text; put them in quotes"),
        (RANGE, "a", "must be a mapping with fields such as low, high"),
        (RANGE, {"low": 2, "high": 1}, "low must be below high"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(node: Node, value: object, sentence: str) -> None:
    assert told(node, value) == [f"it: {sentence}"]


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (WORD, "abcde"),
        (COUNT, 10),
        (Whole(about="Any."), -(10**30)),
        (Flag(about="On."), False),
        (Quantity(about="How much."), 0),
        (Quantity(about="How much."), "1.5Gi"),
        (Quantity(about="How much."), "1e3"),
        (Free(about="Any."), {"a": [1, 2.5, "x", None, True, {"b": {}}]}),
        (Listing(about="Some.", items=WORD), ["a", "a"]),
        (Table(about="By key.", values=WORD), {"any key": "a"}),
    ],
)
def test_a_right_value_is_taken_as_it_is(node: Node, value: object) -> None:
    assert inspect(node, value, "it").problems == ()
    assert inspect(node, value, "it").value == value


@pytest.mark.parametrize(
    "value", [{1: 1}, {"a": object()}, {"a": {2}}, {"a": float("nan")}, {"a": 2**63}, {"a": "\udfff"}]
)
def test_what_is_passed_on_unread_must_be_json(value: object) -> None:
    assert told(Free(about="Any."), value) == [
        "it: must be made of text, numbers, true, false, lists and mappings, 32 deep at most"
    ]


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: {"a": [inner]}])
def test_what_is_passed_on_unread_must_be_shallow(wrap: Any) -> None:
    value: Any = 1
    for _ in range(100_000):
        value = wrap(value)

    assert len(told(Free(about="Any."), value)) == 1


def test_every_problem_is_told_with_its_path() -> None:
    value = {"range": {"low": 0, "high": 99}, "name": "A", "on": 1}

    assert told(NESTED, value) == [
        "it.range.low: must be a whole number from 1 to 10",
        "it.range.high: must be a whole number from 1 to 10",
        "it.name: must be small letters",
        "it.on: must be true or false",
    ]


def test_items_and_keys_are_told_by_their_place() -> None:
    assert told(Listing(about="Some.", items=WORD), ["a", "B"]) == ["it[1]: must be small letters"]
    assert told(Table(about="By key.", values=WORD), {"a/b": "B"}) == ['it["a/b"]: must be small letters']


def test_a_missing_field_is_told_with_what_it_is() -> None:
    assert told(RANGE, {"low": 1}) == ["it.high: is required: a count"]


def test_a_field_that_is_left_out_gets_its_default() -> None:
    assert inspect(NESTED, {}, "it").value == {"on": False}


def test_a_default_is_filled_in_to_its_depth() -> None:
    outer = Record(about="Outer.", fields={"inner": Record(about="Inner.", fields=NESTED.fields, default={})})

    assert inspect(outer, {}, "it").value == {"inner": {"on": False}}


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("nmae", "it.nmae: unknown field; did you mean name?"),
        ("Name", "it.Name: unknown field; did you mean name?"),
        ("colour", "it.colour: unknown field; known are range, name, on"),
        (7, "it.int: unknown field; known are range, name, on"),
    ],
)
def test_an_unknown_field_is_told_with_the_known_ones(key: object, sentence: str) -> None:
    assert told(NESTED, {key: 1}) == [sentence]


def test_a_field_that_belongs_elsewhere_is_told_where() -> None:
    node = Record(about="Some.", fields={}, hints={"colour": "write it elsewhere"})

    assert told(node, {"colour": 1}) == ["it.colour: write it elsewhere"]


@pytest.mark.parametrize("value", [{"low": 5, "high": 99}, {"low": 5}, {"low": 5, "hihg": 6, "high": None}])
def test_a_rule_over_fields_is_silent_when_one_of_them_is_wrong(value: object) -> None:
    assert not any("low must be below high" in sentence for sentence in told(RANGE, value))


def test_a_misspelt_field_counts_as_written() -> None:
    node = Record(about="One.", fields={"inline": WORD, "image": WORD}, rules=(exactly_one("inline", "image"),))

    assert told(node, {"inlin": "a"}) == ["it.inlin: unknown field; did you mean inline?"]


def test_only_the_first_broken_rule_of_a_value_is_told() -> None:
    node = Text(about="A word.", rules=(matching("a", "must be a"), matching("b", "must be b")))

    assert told(node, "c") == ["it: must be a"]
    assert told(node, "a") == ["it: must be b"]


@pytest.mark.parametrize(
    ("node", "value", "sentences"),
    [
        (Listing(about="Some.", items=WORD, distinct=True), ["a", "b", "a"], ['it[2]: "a" is there twice']),
        (Listing(about="Some.", items=NESTED, key="name"), [{"name": "a"}] * 2, ['it[1].name: "a" is there twice']),
        (Listing(about="Some.", items=NESTED, key="name"), [{}, {}], []),
    ],
)
def test_items_that_must_differ_are_told_when_they_do_not(node: Node, value: object, sentences: list[str]) -> None:
    assert told(node, value) == sentences


def test_broken_items_are_told_beside_repeated_ones() -> None:
    node = Listing(about="Some.", items=NESTED, key="name")

    assert told(node, [{"name": "a", "on": 3}, {"name": "a"}, 5]) == [
        "it[0].on: must be true or false",
        "it[2]: must be a mapping with fields such as range, name, on",
        'it[1].name: "a" is there twice',
    ]


@pytest.mark.parametrize(("key", "path"), [("a_b1", "x.a_b1"), ("a-b", 'x["a-b"]'), ("", 'x[""]'), ('"', 'x["\\""]')])
def test_a_path_shows_odd_keys_in_quotes(key: str, path: str) -> None:
    assert child("x", key) == path


def test_a_path_shows_the_beginning_of_a_long_key() -> None:
    assert child("x", "a/" * 50) == 'x["' + "a/" * 20 + '..."]'


def test_nothing_near_is_not_guessed() -> None:
    assert did_you_mean("zebra", ["duration", "users"]) == ""


@given(JSON)
def test_whatever_is_given_is_taken_or_told(value: object) -> None:
    for node in (
        WORD,
        COUNT,
        NESTED,
        RANGE,
        Table(about="T.", values=RANGE),
        Listing(about="L.", items=NESTED, key="name"),
    ):
        for problem in inspect(node, value, "it").problems:
            assert problem.path.startswith("it")
            assert problem.message.isprintable()


@given(JSON)
def test_what_was_filled_in_stays_when_it_is_read_again(value: object) -> None:
    seen = inspect(NESTED, value, "it")

    if not seen.problems:
        assert inspect(NESTED, seen.value, "it") == seen

"""Objects that are nested deeper than anybody needs end nobody who reads them."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operator.shell import Operator, run

from loadstone_operator.cluster.nesting import LEVELS_MOST, loads, shallow
from loadstone_operator.looking import Look
from loadstone_operator.ports import Body, Key

TEXTS = st.text(max_size=6) | st.sampled_from(['"', "\\", '\\"', "{", "}", "[[", ']"}'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def levels_of(value: Any) -> int:
    levels = 0
    while isinstance(value, dict):
        levels, value = levels + 1, value["a"]
    return levels


@given(VALUES)
def test_what_nobody_need_fear_is_read_as_it_is(value: Any) -> None:
    text = json.dumps(value)

    assert shallow(text.encode()) == text.encode()
    assert loads(text) == value


@given(VALUES, VALUES, st.integers(1, 3))
def test_only_what_is_too_deep_is_left_out_and_the_rest_stays(before: Any, after: Any, more: int) -> None:
    levels = LEVELS_MOST - 1
    text = f'{{"before":{json.dumps(before)},"deep":{deep(levels + more)},"after":{json.dumps(after)}}}'
    read = json.loads(shallow(text.encode()))

    assert (read["before"], read["after"]) == (before, after)
    assert levels_of(read["deep"]) == levels


@pytest.mark.parametrize("levels", [2_000, 10_000])
def test_python_reads_what_the_api_server_takes(levels: int) -> None:
    # How much of it Python can read by itself depends on its version.
    assert levels_of(loads(deep(levels))) in {LEVELS_MOST, levels}
    assert levels_of(json.loads(shallow(deep(levels).encode()))) == LEVELS_MOST


@pytest.mark.parametrize("text", ["", "{", "[" * 5_000, '{"a":' * 5_000, deep(5_000)[:-1], deep(5_000) + "}"])
def test_what_is_no_json_is_a_value_error_however_deep_it_is(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        loads(text)


def test_a_loadtest_that_is_nested_deeply_is_refused_and_its_neighbour_runs() -> None:
    async def story() -> None:
        operator = Operator()
        affinity = loads(deep(5_000))
        operator.cluster.put("deep", workers={"replicas": 2, "template": {"spec": {"affinity": affinity}}})
        operator.cluster.put("checkout")
        await operator.controller.resync()
        await operator.look("deep")
        await operator.look()

        assert (operator.status("deep")["verdict"], operator.status("deep")["reason"]) == ("Error", "SpecInvalid")
        assert "32 deep at most" in operator.status("deep")["message"]
        assert operator.status()["phase"] == "Provisioning"

    run(story())


def test_a_loadtest_that_cannot_be_looked_at_keeps_the_operator_from_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        operator = Operator()
        look, odd = operator.looker.look, Key("shop", "odd")

        def fail(key: Key, body: Body) -> Look:
            if key == odd:
                raise RecursionError("a fault of ours")
            return look(key, body)

        operator.looker.look = fail  # type: ignore[method-assign]
        operator.cluster.put("odd")
        operator.cluster.put("checkout")
        await operator.controller.resync()
        await operator.look()

        assert operator.controller.is_primed
        assert operator.status()["phase"] == "Provisioning"
        assert [record.message for record in caplog.records] == ["Could not look"]

    run(story())


def test_a_list_that_nobody_can_make_sense_of_is_asked_for_again() -> None:
    async def story() -> None:
        operator = Operator()
        operator.cluster.put("checkout")
        whole, errors = operator.cluster.list_tests, iter([RecursionError("a fault of ours")])

        async def fail_once() -> list[Body]:
            for error in errors:
                raise error
            return await whole()

        operator.cluster.list_tests = fail_once  # type: ignore[method-assign]
        task = asyncio.create_task(operator.controller.run())
        await asyncio.wait([task, asyncio.create_task(operator.cluster.written.wait())], return_when="FIRST_COMPLETED")
        is_working = not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert is_working
        assert operator.status()["phase"] == "Provisioning"

    run(story())

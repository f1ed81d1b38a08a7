from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loadstone_core.admission import admit, check
from loadstone_core.errors import Problem, SpecInvalidError
from loadstone_core.spec.parsing import parse_spec
from loadstone_core.verdict.expression import ExpressionError, parse_expression

EXAMPLES = Path(__file__).parents[3] / "examples"
METRICS = ("latency", "failures", "requests", "dropped_iterations", "users", "my_trend")
STATS = ("p1", "p50", "p99.999", "avg", "min", "max", "count", "rate", "value")


def document(*expressions: str, **spec: Any) -> dict[str, Any]:
    thresholds = [{"name": f"t{index}", "expr": expr} for index, expr in enumerate(expressions)]
    given_spec = {
        "source": {"inline": {"content": "x"}},
        "load": {"users": 1, "duration": "1s"},
        "thresholds": thresholds,
    }
    return {
        "apiVersion": "loadstone.dev/v1alpha1",
        "kind": "LoadTest",
        "metadata": {"name": "checkout"},
        "spec": given_spec | spec,
    }


def problems_of(anything: object) -> tuple[Problem, ...]:
    with pytest.raises(SpecInvalidError) as caught:
        admit(anything)
    return caught.value.problems


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_admitted_under_the_name_of_its_file(example: Path) -> None:
    documents = yaml.safe_load_all(example.read_text(encoding="utf-8"))
    (admitted,) = (admit(each) for each in documents if each["kind"] == "LoadTest")

    assert admitted.name == example.stem


def test_a_good_document_is_admitted_with_its_expressions() -> None:
    admitted = admit(document("latency:p95 < 300ms", "failures:rate < 1%"))

    assert [threshold.expr for threshold in admitted.spec.thresholds] == ["latency:p95 < 300ms", "failures:rate < 1%"]


def test_the_grammar_and_the_fields_are_told_together() -> None:
    bad = document("latency:p95 < 300ms", "latency:p95 < 5%", load={"users": 0, "duration": "1s"}, suspended=True)

    assert {problem.path for problem in problems_of(bad)} == {
        "spec.load.users",
        "spec.suspended",
        "spec.thresholds[1].expr",
    }


def test_a_misread_expression_is_told_once_with_its_position() -> None:
    (problem,) = problems_of(document("latency:p95 <"))

    assert problem.path == "spec.thresholds[0].expr"
    assert "expected a number" in problem.message
    assert "character 14" in problem.message


def test_an_expression_that_only_the_fields_refuse_keeps_their_sentence() -> None:
    (problem,) = problems_of(document("latency:p95 < 300ms" + " " * 500))

    assert problem == Problem("spec.thresholds[0].expr", "must be at most 512 characters long")


def test_what_a_threshold_uses_cannot_be_left_out_of_the_metrics() -> None:
    drop = ["dns", "latency", "first_byte"]
    (first, second) = problems_of(document("dns:p95 < 300ms", results={"metrics": {"drop": drop}}))

    assert (first.path, second.path) == ("spec.results.metrics.drop[0]", "spec.results.metrics.drop[1]")
    assert "a threshold uses it" in first.message
    spec = parse_spec(document("dns:p95 < 300ms", results={"metrics": {"drop": ["dns"]}})["spec"])
    assert check(spec) == (first,)


def test_a_spec_can_be_checked_by_itself() -> None:
    spec = parse_spec(document("latency:p95 < 5%", "failures:rate < 1%")["spec"])

    assert [problem.path for problem in check(spec)] == ["spec.thresholds[0].expr"]


@pytest.mark.parametrize(
    "anything",
    [None, 1, "x", [], {}, {"spec": None}, {"spec": {"thresholds": 1}}, {"spec": {"thresholds": [1, {}, {"expr": 2}]}}],
)
def test_what_is_no_loadtest_is_refused(anything: object) -> None:
    assert problems_of(anything)


@given(
    metric=st.sampled_from(METRICS),
    label=st.sampled_from(["", '{name="front page"}', '{ name = "a}:b" , x="\\""}']),
    stat=st.sampled_from(STATS),
    op=st.sampled_from(["<", "<=", ">", ">=", "=="]),
    value=st.sampled_from(["1", "300ms", "0.5s", "1.25us", "2m", "1%", "500/s", "-3"]),
    over=st.sampled_from(["", " over 60s", " over 1m30s"]),
    blank=st.sampled_from(["", " ", "  "]),
)
def test_the_pattern_refuses_nothing_that_the_grammar_reads(**part: str) -> None:
    blank = part["blank"]
    text = blank.join([part["metric"], part["label"], ":", part["stat"], part["op"], part["value"]]) + part["over"]
    try:
        parse_expression(text)
    except ExpressionError:
        return

    assert admit(document(text)).spec.thresholds[0].expr == text


@given(st.text(max_size=40) | st.from_regex(r"[a-z]+:p[0-9]+ ?[<>=]+ ?[0-9]*[a-z%/]*", fullmatch=True))
def test_an_expression_is_admitted_or_refused_at_its_place(text: str) -> None:
    try:
        parse_expression(text)
    except ExpressionError:
        (problem,) = problems_of(document(text))
        assert problem.path == "spec.thresholds[0].expr"
    else:
        assert admit(document(text)).spec.thresholds[0].expr == text

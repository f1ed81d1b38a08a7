"""Admit a LoadTest or say everything that is wrong with it: the one entry for the operator and the command line.

It joins the fields' rules (`spec`) and the grammar of thresholds (`verdict`), which know nothing of each other. What
only a cluster can tell (is the ConfigMap there, is there room for the pods) is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from loadstone_core.errors import Problem, SpecInvalidError
from loadstone_core.spec.parsing import read_loadtest
from loadstone_core.stats.dropping import refusal
from loadstone_core.verdict.expression import ExpressionError, parse_expression

if TYPE_CHECKING:
    from loadstone_core.spec.model import LoadTest, LoadTestSpec


def admit(document: object) -> LoadTest:
    """Return the LoadTest that a document describes, with defaults filled in.

    Raises:
        SpecInvalidError: with every problem, whatever the document is; nothing else is raised.
    """
    read = read_loadtest(document)
    misread = {problem.path: problem for problem in _misread(_expressions(document))}
    # The grammar says where in the text and what was expected, so its answer replaces the pattern's.
    problems = [misread.pop(problem.path, problem) for problem in read.problems]
    problems.extend(misread.values())
    if read.loadtest is not None and not problems:
        problems.extend(_missed(read.loadtest.spec))
    if read.loadtest is None or problems:
        raise SpecInvalidError(problems)
    return read.loadtest


def check(spec: LoadTestSpec) -> tuple[Problem, ...]:
    """Return a problem for each threshold that cannot be read, or else for each thing left out that is needed."""
    written = ((_path(index), threshold.expr) for index, threshold in enumerate(spec.thresholds))
    problems = tuple(_misread(written))
    return problems or tuple(_missed(spec))


def _missed(spec: LoadTestSpec) -> Iterator[Problem]:
    """Yield a problem for each metric or label that is left out and would be missed. Every expression can be read."""
    read = [parse_expression(threshold.expr) for threshold in spec.thresholds]
    used = [(each.metric, [name for name, _ in each.labels]) for each in read]
    for index, written in enumerate(spec.results.dropped):
        if message := refusal(written, used):
            yield Problem(f"spec.results.metrics.drop[{index}]", message)


def _path(index: int) -> str:
    return f"spec.thresholds[{index}].expr"


def _expressions(document: object) -> Iterator[tuple[str, str]]:
    """Yield path and text of each expression, out of a document that may be anything."""
    spec = document.get("spec") if isinstance(document, Mapping) else None
    thresholds = spec.get("thresholds") if isinstance(spec, Mapping) else None
    for index, threshold in enumerate(thresholds if isinstance(thresholds, list | tuple) else ()):
        expr = threshold.get("expr") if isinstance(threshold, Mapping) else None
        if isinstance(expr, str):
            yield _path(index), expr


def _misread(written: Iterator[tuple[str, str]]) -> Iterator[Problem]:
    for path, text in written:
        try:
            parse_expression(text)
        except ExpressionError as error:
            yield Problem(path, str(error))

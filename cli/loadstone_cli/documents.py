"""Read YAML files with LoadTests in them, change fields, and know on which line a field stands."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadstone_core.errors import Problem, SpecInvalidError, UserError

# Dates that do not exist are a ValueError; what a tag does not fit (`!!bool x`) is whatever its constructor runs into.
_NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file."""

    file: str
    folder: Path
    body: Any
    lines: Mapping[str, int]  # dotted path to the line (from 1) where it stands

    @property
    def is_loadtest(self) -> bool:
        """Whether this claims to be a LoadTest."""
        return isinstance(self.body, dict) and self.body.get("kind") == "LoadTest"

    @property
    def name(self) -> str:
        """The object's name, empty when it has none."""
        metadata = self.body.get("metadata") if isinstance(self.body, dict) else None
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""

    def explain(self, problem: Problem) -> str:
        """Return one line for people: file, line, path and message."""
        path = problem.path
        while path and path not in self.lines:
            path = re.sub(r"(\.[^.\[]+|\[\d+\])$", "", path) if re.search(r"[.\[]", path) else ""
        where = f"{self.file}:{self.lines[path]}" if path else self.file
        return f"{where}: {problem.path}: {problem.message}"


def read_documents(file: Path) -> list[Document]:
    """Return every document of `file` (`-`: standard input). Raises UserError when it is no YAML."""
    name = "standard input" if str(file) == "-" else str(file)
    folder = Path.cwd() if str(file) == "-" else file.resolve().parent
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        bodies = list(yaml.safe_load_all(text))
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 (byte {error.start}); save it as such") from error
    except _NO_YAML as error:
        raise UserError(f"{name} is not valid YAML: {_in_a_line(error)}") from error
    return [
        Document(file=name, folder=folder, body=body, lines=dict(_lines(node)))
        for node, body in zip(nodes, bodies, strict=True)
    ]


def choose_loadtest(documents: list[Document], name: str | None) -> Document:
    """Return the LoadTest called `name`, or the only one. Raises UserError when there is none, or a choice."""
    tests = [document for document in documents if document.is_loadtest and name in (None, document.name)]
    if len(tests) == 1:
        return tests[0]
    file = documents[0].file if documents else "the file"
    if not tests:
        raise UserError(f"{file} holds no LoadTest" + (f" called {name}" if name else " (kind: LoadTest)"))
    names = ", ".join(document.name for document in tests)
    raise UserError(f"{file} holds several LoadTests ({names}): choose one with --name")


def with_settings(document: Document, settings: tuple[str, ...]) -> Document:
    """Return `document` with fields of its spec changed: `load.users=10`, `thresholds[0].expr=...`.

    Raises:
        SpecInvalidError: when a setting has no `=`, or a value that is no YAML, or its path leads through what is no
            mapping or list.
    """
    for setting in settings:
        path, separator, value = setting.partition("=")
        if not separator:
            raise SpecInvalidError((Problem("--set", f"{setting!r} has no '=': write PATH=VALUE, e.g. load.users=10"),))
        steps = [int(index) if index else key for key, index in _STEP.findall(path)]
        spec = document.body.setdefault("spec", {}) if isinstance(document.body, dict) else {}
        _assign(spec, steps, _value(path, value), path)
    return document


def _value(path: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except _NO_YAML as error:
        message = f"the value of {path} is not valid YAML, so put it in quotes: {_in_a_line(error)}"
        raise SpecInvalidError((Problem("--set", message),)) from error


def _assign(spec: Any, steps: list[str | int], value: Any, path: str) -> None:
    here = spec
    try:
        for step in steps[:-1]:
            if isinstance(here, dict) and here.get(step) is None:
                here[step] = {}
            here = here[step]
        here[steps[-1]] = value
    except (TypeError, IndexError, KeyError) as error:
        raise SpecInvalidError((Problem("--set", f"the spec has no place {path!r}"),)) from error


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _lines(node: yaml.Node, path: str = "") -> Iterator[tuple[str, int]]:
    if path:
        yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = f"{path}.{key.value}" if path else str(key.value)
            yield inner, key.start_mark.line + 1
            yield from ((at, line) for at, line in _lines(value, inner) if at != inner)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, f"{path}[{number}]")

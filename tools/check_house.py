"""Check the habits that no linter knows: size of modules, forbidden names, a charter for every module and folder."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOUSES = ("core", "protocol", "operator", "runner-image", "cli")
MOST_LINES = 400
FORBIDDEN = {"utils", "util", "helpers", "common", "misc", "base", "impl", "manager"}
FOLDERS_WITH_README = (
    "benchmarks",
    "changes.d",
    "crds",
    "docs",
    "examples",
    "helm/loadstone",
    "tests",
    "tests/e2e",
    "tools",
)


def complaints() -> Iterator[str]:
    """Yield one sentence for each broken habit."""
    for house in HOUSES:
        for path in sorted((ROOT / house).rglob("*.py")):
            if path.name.endswith(("_pb2.py", "_pb2_grpc.py")):
                continue
            yield from _module(path)
    for path in sorted(ROOT.glob("**/operator/__init__.py")):
        if ".venv" not in str(path):
            yield f"{path.relative_to(ROOT)}: would shadow the standard library's operator; remove it"
    for folder in FOLDERS_WITH_README:
        if not (ROOT / folder / "README.md").exists():
            yield f"{folder}: needs a README.md that says what belongs there"


def _module(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    text = path.read_text()
    if path.stem in FORBIDDEN:
        yield f"{name}: name the module after what it does"
    if text.count("\n") > MOST_LINES:
        yield f"{name}: {text.count(chr(10))} lines, at most {MOST_LINES}: split it by charter"
    if text.strip() and not ast.get_docstring(ast.parse(text)):
        yield f"{name}: needs a docstring whose first sentence is its charter"


if __name__ == "__main__":
    found = list(complaints())
    print("\n".join(found) or "the house is in order")
    sys.exit(bool(found))

"""Promises and tests agree in both directions."""

import ast
import importlib.util
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def promises() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("requirements", TESTS / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PROMISES


def named_in_tests() -> dict[str, set[str]]:
    """Return promise id -> the test files that claim to prove it."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("promise"):
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{path.name}: promise ids are literals"
                    found.setdefault(argument.value, set()).add(path.name)
    return found


def test_every_promise_has_a_test() -> None:
    assert set(promises()) - set(named_in_tests()) == set()


def test_no_test_proves_an_unknown_promise() -> None:
    assert set(named_in_tests()) - set(promises()) == set()

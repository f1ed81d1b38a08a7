"""What is missing on a machine leaves tests out, but never where CI runs."""

import shutil
import sys

import pytest
from tests.flavours import flavour_called
from tests.lacking import lacks

COMPILED = "loadstone_runner.engine.path.compiled"


@pytest.mark.parametrize("value", [None, "", "false"])
def test_a_test_that_lacks_something_is_skipped_on_a_machine_of_somebody(monkeypatch, value) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)

    with pytest.raises(pytest.skip.Exception, match=r"^no ruler is here$"):
        lacks("no ruler is here")


def test_a_test_that_lacks_something_fails_where_ci_runs(monkeypatch) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="CI=true, so nothing is skipped: no ruler is here"):
        lacks("no ruler is here")


@pytest.fixture
def nothing_compiled(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, COMPILED, raising=False)
    monkeypatch.setitem(sys.modules, "loadstone_runner.engine.path._compiled", None)


def test_where_nothing_can_compile_ci_fails_instead_of_testing_one_flavour(monkeypatch, nothing_compiled) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="nothing is skipped: the hot paths are not compiled"):
        flavour_called("compiled")


def test_where_there_is_a_compiler_an_uncompiled_request_path_is_an_error(monkeypatch, nothing_compiled) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("tests.flavours.Path.exists", lambda _path: True)
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(ModuleNotFoundError):
        flavour_called("compiled")

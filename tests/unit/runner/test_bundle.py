import collections
import dataclasses
import importlib
import importlib.util
import marshal
import os
import sys
from pathlib import Path

import pytest

from loadstone_runner.bundle import Bundle
from loadstone_runner.bundling import pack

NAME = "colour_of_the_tests"


def bytecode(source: str) -> bytes:
    return marshal.dumps(compile(source, "<test>", "exec"))


def module(path: Path, name: str = NAME, *, is_package: bool = False) -> tuple:
    """Return a module as bundles hold it, of which the bytecode says something else than the file."""
    status = path.stat()
    return name, str(path), is_package, status.st_size, int(status.st_mtime), bytecode("SHADE = 'bundled'")


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / f"{NAME}.py"
    path.write_text("SHADE = 'from the file'")
    yield path
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


@pytest.fixture
def bundle(tmp_path):
    """Write a bundle with modules of the role `painter`."""

    def make(*modules: tuple, made: dict | None = None) -> Bundle:
        path = tmp_path / "bundle.bin"
        path.write_bytes(pack({"painter": (modules, made or {}), "plumber": ([], {})}))
        return Bundle("painter", str(path))

    return make


def shade() -> str:
    return importlib.import_module(NAME).SHADE


def test_a_module_comes_from_the_bundle_while_the_role_starts(source, bundle) -> None:
    with bundle(module(source)):
        assert shade() == "bundled"

    held = sys.modules[NAME]
    assert (held.__file__, held.__spec__.origin, held.__name__) == (str(source), str(source), NAME)


def test_a_module_that_is_asked_for_later_comes_from_its_file(source, bundle) -> None:
    with bundle(module(source)):
        pass

    assert shade() == "from the file"


@pytest.mark.parametrize("change", ["longer", "touched", "removed"])
def test_a_module_that_has_changed_since_comes_from_where_it_is_now(source, bundle, change, tmp_path) -> None:
    made = bundle(module(source))
    if change == "longer":
        source.write_text("SHADE = 'from the new file'")
    else:
        os.utime(source, (1, 1))
    if change == "removed":
        (tmp_path / NAME).mkdir()
        source.rename(tmp_path / NAME / "__init__.py")

    with made:
        assert shade() == ("from the new file" if change == "longer" else "from the file")


def test_a_package_finds_its_other_modules(source, bundle, tmp_path) -> None:
    source.unlink()
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "red.py").write_text("SHADE = 'from the file'")

    with bundle(module(folder / "__init__.py", is_package=True)):
        assert shade() == "bundled"
        assert importlib.import_module(f"{NAME}.red").SHADE == "from the file"


def test_a_module_found_in_time_and_loaded_later_comes_from_its_file(source, bundle) -> None:
    with bundle(module(source)):
        spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    late = importlib.util.module_from_spec(spec)

    spec.loader.exec_module(late)

    assert late.SHADE == "from the file"


def test_functions_are_made_from_known_texts_without_the_compiler_and_from_others_as_ever(bundle) -> None:
    with bundle(made={"1 + 1": compile("'bundled'", "<string>", "eval")}):
        make = vars(collections)["eval"]
        assert (make("1 + 1", {}), make("1 + 2", {})) == ("bundled", 3)
        assert dataclasses.make_dataclass("Colour", ["shade"])(1) is not None

    assert "eval" not in vars(collections)
    assert "exec" not in vars(dataclasses)


def test_nothing_is_left_of_a_bundle(bundle, source) -> None:
    finders = list(sys.meta_path)
    with bundle(module(source)):
        assert len(sys.meta_path) == len(finders) + 1

    assert sys.meta_path == finders


def test_without_a_bundle_and_for_a_role_it_does_not_know_everything_is_as_ever(source, bundle, tmp_path) -> None:
    bundle(module(source))
    for other in (Bundle("plumber", str(tmp_path / "bundle.bin")), Bundle("painter", str(tmp_path / "none"))):
        with other:
            assert shade() == "from the file"
        del sys.modules[NAME]

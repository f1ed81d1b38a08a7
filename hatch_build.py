"""Compile the engine's hot path where a C compiler is, for wheels and for the tree; go on without where none is.

    python hatch_build.py                       compile it beside its sources
    python hatch_build.py FOLDER [OPTION...]    compile it into a folder, with options for the compiler
                                                (the exit code is 3 where there is no compiler, 1 if it fails)

LOADSTONE_COMPILE=0 builds without it, LOADSTONE_COMPILE=1 fails where it cannot be compiled. What it does is said in
its sources; which flavour a process uses is chosen in `loadstone_runner.engine.path`.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("runner-image/loadstone_runner/engine/path")
MODULE = "loadstone_runner.engine.path._compiled"
FILE = f"_compiled{sysconfig.get_config_var('EXT_SUFFIX')}"
EXIT_MISSING = 3
# Overflow of signed integers wraps, as Python's own build has it: Cython's code relies on it.
OPTIONS = ("-O2", "-fwrapv", "-DNDEBUG", "-fPIC", "-shared")


class CannotCompileError(Exception):
    """The compiler refused it, or something that it takes is missing."""


class MissingError(CannotCompileError):
    """Something that it takes is missing."""


def compile_path(root: Path, folder: Path, options: tuple[str, ...] = ()) -> Path:
    """Compile the module into a folder; return its file.

    Raises:
        MissingError: what is missing.
        CannotCompileError: what the compiler said.
    """
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = sysconfig.get_path("include")
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        raise MissingError("it is for CPython on Linux")
    if shutil.which(compiler[0]) is None:
        raise MissingError(f"there is no C compiler ({compiler[0]})")
    if not Path(include, "Python.h").exists():
        raise MissingError(f"there are no headers of Python in {include}")
    made = folder / FILE
    with tempfile.TemporaryDirectory() as scratch:
        source, built = f"{scratch}/_compiled.c", f"{scratch}/{FILE}"
        sources = root / FOLDER / "_compiled.pyx"
        _run([sys.executable, "-m", "cython", "-3", "--module-name", MODULE, "-o", source, str(sources)])
        _run([*compiler, *OPTIONS, *options, f"-I{include}", source, "-o", built])
        # In one step, as a process may be loading the old one.
        shutil.copy(built, made.with_suffix(".new"))
        made.with_suffix(".new").replace(made)
    return made


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCompileError(f"{shlex.join(command[:3])} failed:\n{done.stdout}{done.stderr}")


class CustomBuildHook(BuildHookInterface[Any]):
    """Put the compiled module into wheels, or beside its sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if there is something to compile and something to do it with."""
        root = Path(self.root)
        wish = os.environ.get("LOADSTONE_COMPILE", "")
        if not (root / FOLDER).exists() or wish == "0" or self.target_name != "wheel":
            return
        is_editable = version == "editable"
        folder = root / FOLDER if is_editable else Path(tempfile.mkdtemp(prefix="loadstone-"))
        try:
            made = compile_path(root, folder)
        except MissingError as error:
            if wish == "1":
                raise
            self.app.display_warning(f"The request path is not compiled, so Python does its work, slower: {error}")
            return
        if not is_editable:
            build_data["force_include"][str(made)] = f"loadstone_runner/engine/path/{FILE}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 the hook's interface
        """Remove what was compiled for a wheel that holds it now."""
        for made in build_data["force_include"]:
            if Path(made).name == FILE:
                shutil.rmtree(Path(made).parent)


if __name__ == "__main__":
    top = Path(__file__).resolve().parent
    try:
        where = compile_path(top, Path(sys.argv[1]) if sys.argv[1:] else top / FOLDER, tuple(sys.argv[2:]))
    except CannotCompileError as reason:
        sys.stderr.write(f"The request path is not compiled, so Python does its work, slower: {reason}\n")
        sys.exit(EXIT_MISSING if isinstance(reason, MissingError) else 1)
    sys.stdout.write(f"Compiled {where}\n")

"""Compile the hot paths of engine and master where a C compiler is, for wheels and for the tree; else go on without.

    python hatch_build.py                       compile them beside their sources
    python hatch_build.py FOLDER [OPTION...]    compile them into a folder, with options for the compiler
                                                (the exit code is 3 where there is no compiler, 1 if it fails)

LOADSTONE_COMPILE=0 builds without them, LOADSTONE_COMPILE=1 fails where they cannot be compiled. What each does is said
in its sources; which flavour a process uses is chosen in `loadstone_runner.engine.path` and `.master.shelf`.
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

TREE = Path("runner-image")
MODULES = ("loadstone_runner.engine.path._compiled", "loadstone_runner.master.shelf._packed")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
EXIT_MISSING = 3
# Overflow of signed integers wraps, as Python's own build has it: Cython's code relies on it.
OPTIONS = ("-O2", "-fwrapv", "-DNDEBUG", "-fPIC", "-shared")


class CannotCompileError(Exception):
    """The compiler refused it, or something that it takes is missing."""


class MissingError(CannotCompileError):
    """Something that it takes is missing."""


def compile_all(root: Path, folder: Path | None = None, options: tuple[str, ...] = ()) -> dict[str, Path]:
    """Compile all modules, into a folder or beside their sources; return the file of each.

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
    made = {}
    for module in MODULES:
        sources = root / TREE / module.replace(".", "/")
        name = sources.name
        made[module] = (folder or sources.parent) / f"{name}{SUFFIX}"
        with tempfile.TemporaryDirectory() as scratch:
            source, built = f"{scratch}/{name}.c", f"{scratch}/{name}{SUFFIX}"
            cython = ("cython", "-3", "--module-name", module, "-o", source, f"{sources}.pyx")
            _run([sys.executable, "-m", *cython])
            _run([*compiler, *OPTIONS, *options, f"-I{include}", source, "-o", built])
            # In one step, as a process may be loading the old one.
            shutil.copy(built, made[module].with_suffix(".new"))
            made[module].with_suffix(".new").replace(made[module])
    return made


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCompileError(f"{shlex.join(command[:3])} failed:\n{done.stdout}{done.stderr}")


class CustomBuildHook(BuildHookInterface[Any]):
    """Put the compiled modules into wheels, or beside their sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, if there is something to compile and something to do it with."""
        root = Path(self.root)
        wish = os.environ.get("LOADSTONE_COMPILE", "")
        if not (root / TREE).exists() or wish == "0" or self.target_name != "wheel":
            return
        is_editable = version == "editable"
        folder = None if is_editable else Path(tempfile.mkdtemp(prefix="loadstone-"))
        try:
            made = compile_all(root, folder)
        except MissingError as error:
            if wish == "1":
                raise
            self.app.display_warning(f"The hot paths are not compiled, so Python does their work, slower: {error}")
            return
        if not is_editable:
            for module, file in made.items():
                package = module.rpartition(".")[0].replace(".", "/")
                build_data["force_include"][str(file)] = f"{package}/{file.name}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 the hook's interface
        """Remove what was compiled for a wheel that holds it now."""
        for made in build_data["force_include"]:
            if made.endswith(SUFFIX):
                shutil.rmtree(Path(made).parent, ignore_errors=True)


if __name__ == "__main__":
    top = Path(__file__).resolve().parent
    try:
        files = compile_all(top, Path(sys.argv[1]) if sys.argv[1:] else None, tuple(sys.argv[2:]))
    except CannotCompileError as reason:
        sys.stderr.write(f"The hot paths are not compiled, so Python does their work, slower: {reason}\n")
        sys.exit(EXIT_MISSING if isinstance(reason, MissingError) else 1)
    sys.stdout.write("".join(f"Compiled {file}\n" for file in files.values()))

"""Make the bundle: start every role as far as its imports go, and keep the bytecode of what it asked for.

`python -m loadstone_runner.bundling [PATH]` does so for the installation that it runs in. Each role has an
interpreter of its own, as some patch what others may not see patched.
"""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from marshal import dumps, loads
from typing import TYPE_CHECKING, Any, Final

from loadstone_runner.__main__ import ROLES
from loadstone_runner.bundle import BUNDLE, END_BYTES, MAKERS, NOT_BYTECODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import CodeType

    # Name, path, is_package, size, modified, bytecode (empty for a library).
    Module = tuple[str, str, bool, int, int, bytes]

MODULES: Final = "--modules-of"
TEXTS: Final = "--texts-of"


def write_bundle(path: str) -> None:
    """Write the bundle of this installation to `path`, whole or not at all."""
    content = pack({role: (_ask(MODULES, role), _ask(TEXTS, role)) for role in ROLES})
    with open(f"{path}.new", "wb") as file:  # noqa: PTH123 what this module imports counts as imported by the role
        file.write(content)
    os.replace(f"{path}.new", path)  # noqa: PTH105 as above


def pack(roles: Mapping[str, tuple[Iterable[Module], Mapping[str, CodeType]]]) -> bytes:
    """Return a bundle from each role's modules, and the code of texts from which functions are made at its start."""
    body = bytearray()
    places: dict[str, int] = {}
    contents: dict[str, tuple[int, int]] = {}
    for role, (modules, made) in roles.items():
        entries: dict[str, tuple[Any, ...]] = {}
        for name, origin, is_package, size, modified, code in modules:
            if code and name not in places:
                places[name] = len(body)
                body += code
            offset = places[name] if code else NOT_BYTECODE
            entries[name] = (origin, is_package, size, modified, offset, len(code))
        index = dumps((entries, made))
        contents[role] = (len(body), len(index))
        body += index
    return bytes(body) + dumps(contents) + len(body).to_bytes(END_BYTES, "little")


def _ask(what: str, role: str) -> Any:
    """Return what a fresh interpreter finds out."""
    import subprocess

    command = [sys.executable, "-m", "loadstone_runner.bundling", what, role]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return loads(answer)  # noqa: S302 our own words


def _modules(role: str) -> list[Module]:
    """Return the modules that a role has imported when it starts, those aside that come with the interpreter."""
    ROLES[role].load()
    return list(_imported())


def _imported() -> Iterator[Module]:
    for name, module in sorted(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        # Some packages put one module in another's place; such names are left to them.
        if spec is None or spec.name != name or spec.origin is None or name == "__main__":
            continue
        loader_type, is_package = type(spec.loader), spec.submodule_search_locations is not None
        if loader_type is SourceFileLoader:
            code = dumps(spec.loader.get_code(name))
        elif loader_type is ExtensionFileLoader:
            code = b""
        else:
            continue
        status = os.stat(spec.origin)  # noqa: PTH116 as above
        yield name, spec.origin, is_package, status.st_size, int(status.st_mtime), code


def _texts(role: str) -> dict[str, CodeType]:
    """Return the code of every text from which a role makes functions while it starts."""
    import importlib

    made: dict[str, CodeType] = {}
    for name, function in MAKERS.items():
        vars(importlib.import_module(name))[function] = _noting(made, function)
    ROLES[role].load()
    return made


def _noting(made: dict[str, CodeType], function: str) -> Callable[..., Any]:
    make = getattr(builtins, function)

    def note(text: str, *scopes: Any) -> Any:
        made[text] = compile(text, "<string>", function, dont_inherit=True)
        return make(text, *scopes)

    return note


def main(arguments: list[str]) -> None:
    """Write the bundle, or be the interpreter that finds something out for it."""
    match arguments:
        case [what, role] if what in {MODULES, TEXTS}:
            found = dumps(_modules(role) if what == MODULES else _texts(role))
            sys.stdout.flush()
            os.write(1, found)
        case _:
            write_bundle(arguments[0] if arguments else BUNDLE)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Import what a role needs at its start from one file of bytecode, made with the image. Making it is `bundling`'s.

Ten workers start on two cores; finding, opening and checking some 250 modules is a sixth of the start of each process.
What is not in the file, or has changed since, is imported as ever, so only time depends on it. And it serves while a
role starts, no longer: a script's own modules come first, whatever they are called.
"""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from marshal import loads
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

BUNDLE: Final = f"{os.path.dirname(__file__)}/bundle.bin"  # noqa: PTH120 pathlib costs 5 ms
# The file ends with the place of its table of contents: by role, the place and length of what is known of its modules.
END_BYTES: Final = 8
NOT_BYTECODE: Final = -1

# These make functions from text, which costs a class of values half a millisecond, mostly in the compiler.
MAKERS: Final = {"dataclasses": "exec", "collections": "eval"}


class Entry(NamedTuple):
    """One module: where its source or library is and how that looked, and where in the bundle its bytecode is.

    Attributes:
        offset: NOT_BYTECODE for a library.
    """

    path: str
    is_package: bool
    size: int
    modified: int
    offset: int
    length: int


class Bundle:
    """A context in which modules of one role are found in the bundle at `path`; without that file it does nothing."""

    def __init__(self, role: str, path: str = BUNDLE) -> None:
        self._role = role
        self._path = path
        self._descriptor = -1
        self._entries: Mapping[str, tuple[Any, ...]] = {}
        self._made: Mapping[str, CodeType] = {}

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        end = os.fstat(self._descriptor).st_size - END_BYTES
        contents = int.from_bytes(os.pread(self._descriptor, END_BYTES, end), "little")
        offset, length = self._loaded(contents, end - contents).get(self._role, (0, 0))
        if length:
            self._entries, self._made = self._loaded(offset, length)
            sys.meta_path.insert(0, self)
            for name in MAKERS:
                if name in sys.modules:
                    self.supply(sys.modules[name])

    def __exit__(self, *_: object) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, function in MAKERS.items():
            if name in sys.modules:
                vars(sys.modules[name]).pop(function, None)
        if self.is_open:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def is_open(self) -> bool:
        """Whether modules can be read from it."""
        return self._descriptor >= 0

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 the bundle says where a module is
        target: ModuleType | None = None,  # noqa: ARG002 nothing is reloaded
    ) -> ModuleSpec | None:
        """Return how to load a module; None for one that is not here, or has changed since."""
        found = self._entries.get(name)
        if found is None:
            return None
        entry = Entry(*found)
        try:
            now = os.stat(entry.path)  # noqa: PTH116 pathlib costs 5 ms
        except OSError:
            return None
        if now.st_size != entry.size or int(now.st_mtime) != entry.modified:
            return None
        is_library = entry.offset == NOT_BYTECODE
        loader = ExtensionFileLoader(name, entry.path) if is_library else _Loader(name, entry, self)
        spec = ModuleSpec(name, loader, origin=entry.path, is_package=entry.is_package)
        spec.has_location = True
        if entry.is_package:
            spec.submodule_search_locations = [entry.path.rpartition("/")[0]]
        return spec

    def code(self, entry: Entry) -> CodeType:
        """Return a module's bytecode."""
        code: CodeType = self._loaded(entry.offset, entry.length)
        return code

    def supply(self, module: ModuleType) -> None:
        """Let a module that makes functions from text find them made; from other text it makes them as ever."""
        name = MAKERS[module.__name__]
        make, made = getattr(builtins, name), self._made
        vars(module)[name] = lambda text, *scopes: make(made.get(text, text), *scopes)

    def _loaded(self, offset: int, length: int) -> Any:
        # As trustworthy as the bytecode beside each module, which is of this form, too.
        return loads(os.pread(self._descriptor, length, offset))  # noqa: S302 made with this installation


class _Loader(SourceFileLoader):
    """Load one module from the bundle; whoever asks for more than its bytecode reads its source."""

    def __init__(self, name: str, entry: Entry, bundle: Bundle) -> None:
        super().__init__(name, entry.path)
        self._entry = entry
        self._bundle = bundle

    def exec_module(self, module: ModuleType) -> None:
        if not self._bundle.is_open:  # found in time, but not needed before now
            super().exec_module(module)
            return
        exec(self._bundle.code(self._entry), module.__dict__)  # noqa: S102 it is what importing is
        if module.__name__ in MAKERS:
            self._bundle.supply(module)

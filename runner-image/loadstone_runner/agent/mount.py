"""Read the script's files as they are really mounted. What their digest is compared with is decided in `desired`."""

from __future__ import annotations

import os
from pathlib import Path

from loadstone_core.spec.digest import files_digest


def script_digest(directory: str) -> str:
    """Return the digest of all files below a directory, a missing one being empty.

    Kubernetes mounts a Secret as links into a hidden folder, `..data`, itself a link to `..2026_...`: links are
    followed, names that begin with two dots are not. What Python has compiled is not part of the script.

    Raises:
        OSError: a file cannot be read.
    """
    files: dict[str, bytes] = {}
    for folder, folders, names in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith("..") and name != "__pycache__"]
        for name in names:
            if not name.startswith(".."):
                path = Path(folder, name)
                files[path.relative_to(directory).as_posix()] = path.read_bytes()
    return files_digest(files)

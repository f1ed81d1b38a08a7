"""Let pip in an image build reach packages in the way that pip on this machine does.

Usage: pip_settings.py FOLDER. Writes pip's effective settings (files and PIP_* variables) to FOLDER/pip.conf and
prints, one a line, the options for `buildah build` that mount it and every local path it names. Mounted, none of it
gets into an image; as build arguments it would.
"""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

PLACE = Path("/etc/pip.conf")


def main(folder: Path) -> None:
    """Write the settings and print the mounts."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    )
    settings = effective(listing.stdout)
    parser = configparser.RawConfigParser()
    parser.read_dict(settings)
    with (folder / "pip.conf").open("w") as file:
        parser.write(file)
    mounts = {folder / "pip.conf": PLACE} | {path: path for path in local_paths(settings)}
    for source, place in mounts.items():
        print(f"--volume={source}:{place}:ro")


def effective(listing: str) -> dict[str, dict[str, str]]:
    """Return section -> option -> value from the output of `pip config list`; variables win over files, as in pip."""
    entries = [line.partition("=")[::2] for line in listing.splitlines() if "=" in line]
    settings: dict[str, dict[str, str]] = {}
    for name, quoted in sorted(entries, key=lambda entry: entry[0].startswith(":env:")):
        section, _, option = name.partition(".")
        settings.setdefault(section.replace(":env:", "global"), {})[option] = ast.literal_eval(quoted)
    return settings


def local_paths(settings: dict[str, dict[str, str]]) -> list[Path]:
    """Return the absolute paths that the settings name and that exist here."""
    words = (word for options in settings.values() for value in options.values() for word in value.split())
    return sorted({Path(word) for word in words if word.startswith("/") and Path(word).exists()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))

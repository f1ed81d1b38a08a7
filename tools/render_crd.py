"""Write the CustomResourceDefinitions, rendered from core's fields, into crds/ and into the chart.

`--check` writes nothing and fails if a file is not what would be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import yaml

from loadstone_core.spec.schema import class_crd, loadtest_crd

_ROOT: Final = Path(__file__).resolve().parent.parent
_FOLDERS: Final = (_ROOT / "crds", _ROOT / "helm" / "loadstone" / "crds")
_HEADER: Final = "# Rendered by tools/render_crd.py from core/loadstone_core/spec. Do not edit.\n"


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors, so that each part can be read, and grepped, by itself."""

    def ignore_aliases(self, data: object) -> bool:
        """Tell that nothing is ever an alias."""
        del data
        return True


def render() -> dict[Path, str]:
    """Return the text of each file."""
    texts = {
        f"{crd['spec']['names']['plural']}.yaml": _HEADER
        + yaml.dump(crd, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)
        for crd in (loadtest_crd(), class_crd())
    }
    return {folder / name: text for folder in _FOLDERS for name, text in texts.items()}


def main() -> int:
    """Write or check the files; return the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date, write nothing")
    check = parser.parse_args().check
    for target, text in render().items():
        name = target.relative_to(_ROOT)
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{name} is out of date: run `python tools/render_crd.py`", file=sys.stderr)
            return 1
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

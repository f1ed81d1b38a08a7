"""The bundle of the real roles: it holds what they import, and with it they import the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = """
import json, os, sys
from loadstone_runner.__main__ import ROLES, Bundle
role, path = sys.argv[1:]
with Bundle(role, path):
    ROLES[role].load()
print(json.dumps({name: type(getattr(getattr(module, "__spec__", None), "loader", None)).__name__
                  for name, module in list(sys.modules.items())}), flush=True)
os._exit(0)
"""

BEFORE_THE_BUNDLE = {"loadstone_runner.__main__", "loadstone_runner.bundle", "loadstone_runner.settings"}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("bundle") / "bundle.bin"
    subprocess.run([sys.executable, "-m", "loadstone_runner.bundling", str(made)], check=True)
    return made


def loaders(role: str, path: Path) -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", LOAD, role, str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("role", ["launcher", "agent", "engine", "director", "master", "check"])
def test_a_role_imports_the_same_with_and_without_a_bundle(path, role) -> None:
    plain, bundled = loaders(role, path.with_name("none")), loaders(role, path)

    assert set(bundled) == set(plain)
    ours = {name for name, loader in plain.items() if name.startswith("loadstone_") and loader == "SourceFileLoader"}
    assert {name for name in ours if bundled[name] != "_Loader"} <= BEFORE_THE_BUNDLE


def test_an_agent_and_a_master_load_no_openssl(path) -> None:
    for role in ("agent", "master"):
        assert not {"ssl", "_ssl", "_hashlib"} & set(loaders(role, path))

"""The compiled hot paths under AddressSanitizer: no byte is read or written that is not its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lacking import lacks

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "tests/unit/runner/engine/path",
    "tests/unit/runner/engine/test_instruments.py",
    "tests/unit/runner/master/test_shelf.py",
    "tests/component/test_path_fuzz.py",
    "tests/component/test_http_client.py",
    "tests/component/test_http_failures.py",
    "tests/component/test_http_redirects.py",
    "tests/component/test_http_tls.py",
)


def library(name: str) -> str:
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        lacks(f"gcc has no {name} here: install gcc with its libraries")
    return found


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory) -> dict[str, str]:
    """The environment of a Python whose compiled hot paths and whose memory are watched."""
    if shutil.which("gcc") is None:
        lacks("no gcc is here: install it")
    # greenlet throws exceptions of C++, which the sanitizer must find.
    libraries = f"{library('libasan.so')} {library('libstdc++.so.6')}"
    folder = tmp_path_factory.mktemp("sanitized")
    # Without the red zones of stacks: greenlet copies those as they are.
    options = ("-fsanitize=address", "--param", "asan-stack=0", "-g", "-O1")
    built = run("hatch_build.py", str(folder), *options, CC="gcc")
    assert built.returncode == 0, built.stderr
    return {
        "LD_PRELOAD": libraries,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "LOADSTONE_TEST_COMPILED": str(folder),
    }


@pytest.mark.timeout(580)
def test_nothing_beside_its_own_memory_is_touched(sanitized) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not pure", *TESTS, **sanitized)

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "ERROR: AddressSanitizer" not in done.stderr


def test_the_sanitizer_would_see_it(sanitized) -> None:
    beyond = "libc.memset(ctypes.c_void_p(libc.malloc(8)), 0, 9)"
    code = f"import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; {beyond}"

    done = run("-c", code, **sanitized)

    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    # And it looks at the module, too, not only at what the C library is called for.
    modules = [file.read_bytes() for file in Path(sanitized["LOADSTONE_TEST_COMPILED"]).glob("*.so")]
    assert [b"__asan_report_load" in module for module in modules] == [True, True]

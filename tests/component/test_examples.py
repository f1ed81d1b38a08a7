"""Every example with `loadstone run`, exact against a target of its own; several at a time: most of it is waiting."""

import gzip
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from abreast import Abreast
from catalogue import CATALOGUE, EXAMPLES, Example, Outcome, Places
from tests.component.ports import free_port

promise = pytest.mark.promise
# Its runs are side by side already, and one whose machine was too slow is done again, alone.
pytestmark = [pytest.mark.alone, pytest.mark.once]


@promise("examples", "local-same", "exact-totals")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("example", CATALOGUE, ids=lambda example: example.id)
def test_an_example_ends_as_its_header_says_and_shows_what_it_is_for(runs, example) -> None:
    example.check(runs.outcome(example))


def test_the_script_in_the_readme_runs_as_it_stands(tmp_path) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    (script,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (tmp_path / "shop.py").write_text(script)
    (tmp_path / "accounts.csv").write_text("user,password\nada,lovelace\n")
    with servers() as places:
        command = [sys.executable, "-m", "loadstone_cli", "debug", str(tmp_path / "shop.py"), "-n", "30"]
        done = subprocess.run(
            [*command, "--target", places.target], capture_output=True, text=True, timeout=60, check=False
        )
        counted = fetch(f"{places.target}/count")

    assert done.returncode == 0, done.stdout + done.stderr
    # The last of thirty iterations may have filled a basket that nobody has paid.
    baskets, rest = divmod(counted["by_path"]["/basket"], 3)
    assert (rest, baskets - counted["by_path"].get("/checkout", 0)) in {(0, 0), (0, 1)}
    assert baskets > 0
    assert counted["by_user"] == {"ada": 1}


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory) -> Iterator[Abreast]:
    """Start the chosen examples, a few at a time."""
    certificates = tmp_path_factory.mktemp("certificates")
    subprocess.run([sys.executable, EXAMPLES / "target" / "certificates.py", certificates], check=True)
    with Abreast(partial(run_here, certificates=certificates, folders=tmp_path_factory), request, at_once=4) as started:
        yield started


def run_here(example: Example, *, certificates: Path, folders: pytest.TempPathFactory) -> Outcome:
    """Run an example against a target and a proxy of its own."""
    folder = folders.mktemp(example.id)
    with servers(certificates, has_proxy=example.name == "proxy") as places:
        settings = [places.fill(each) for each in (*example.settings, *example.here)]
        command = [sys.executable, "-m", "loadstone_cli", "run", str(example.file), "--quiet"]
        command += [part for each in settings for part in ("--set", each)]
        command += ["--status", str(folder / "status.json"), "--results", str(folder / "results")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert (folder / "status.json").exists(), done.stderr
        status = json.loads((folder / "status.json").read_text())
        assert done.returncode == status["exitCode"]
        (report,) = (folder / "results").glob("*.json.gz")
        proxied = {**fetch(f"{places.proxy}/count"), "address": "127.0.0.1"} if places.proxy else {}
        return Outcome(
            status, json.loads(gzip.decompress(report.read_bytes())), fetch(f"{places.target}/count"), proxied
        )


@contextmanager
def servers(certificates: Path | None = None, *, has_proxy: bool = False) -> Iterator[Places]:
    plain, tls, keyvalue, proxy = free_ports(4)
    commands = [["server.py", "--port", plain, "--keyvalue-port", keyvalue]]
    if certificates is not None:
        commands[0] += ["--tls-port", tls, "--tls-folder", str(certificates)]
    if has_proxy:
        commands.append(["proxy.py", "--port", proxy])
    started = [
        subprocess.Popen([sys.executable, str(EXAMPLES / "target" / name), *rest], stdout=subprocess.DEVNULL)
        for name, *rest in commands
    ]
    places = Places(
        target=f"http://127.0.0.1:{plain}",
        tls_target=f"https://127.0.0.1:{tls}",
        keyvalue=f"127.0.0.1:{keyvalue}",
        proxy=f"http://127.0.0.1:{proxy}" if has_proxy else "",
        certificates=str(certificates),
        image="",
    )
    try:
        for url in filter(None, (places.target, places.proxy)):
            wait_for(f"{url}/count")
        yield places
    finally:
        for each in started:
            each.terminate()
            each.wait()


def free_ports(count: int) -> list[str]:
    """Return ports for servers that are told theirs; others start beside them, whose connections take none of these."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return [str(port) for port in found]


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            fetch(url)
        except OSError:
            assert time.monotonic() < deadline, url
            time.sleep(0.05)
        else:
            return


def fetch(url: str) -> dict:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.load(reply)

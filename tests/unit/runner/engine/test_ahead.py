"""What a script will need in its load is imported before it, and nothing more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = """
import json, sys
from types import SimpleNamespace
from loadstone_protocol.v1 import engine_pb2
from loadstone_runner.engine.introduction import load_and_report
before = set(sys.modules)
report = load_and_report(SimpleNamespace(script_dir=sys.argv[1], entrypoint="test.py", target=sys.argv[2]))[1]
assert report.ok, report
print(json.dumps(sorted(set(sys.modules) - before)))
"""
SCRIPT = """
from loadstone import HttpOptions, User, task
from more import WAYS


class One(User):
    {}

    @task
    def visit(self):
        {}
"""


def imported(folder: Path, *, options: str = "pass", body: str = "pass", more: str = "", target: str = "") -> set[str]:
    (folder / "test.py").write_text(SCRIPT.format(options, body))
    (folder / "more.py").write_text(f"WAYS = {more!r}\n")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(folder), target], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ({"body": "self.http.websocket('/chat')"}, "wsproto.connection"),
        ({"options": "http_options = HttpOptions(http2=True)"}, "h2.connection"),
        ({"options": "http_options = HttpOptions(encodings=('br', 'zstd'))"}, "zstandard"),
        ({"options": "http_options = HttpOptions(encodings=('br', 'zstd'))"}, "brotli"),
        ({"target": "https://shop.default"}, "ssl"),
        ({"more": "websocket"}, "wsproto.connection"),
    ],
)
def test_a_library_is_there_before_the_load_that_needs_it(tmp_path, script, module) -> None:
    assert module in imported(tmp_path, **script)


def test_a_plain_script_brings_nothing_but_itself(tmp_path) -> None:
    found = {name.partition(".")[0] for name in imported(tmp_path, body="self.http.get('/')", target="http://shop")}

    assert found >= {"loadstone_script", "more"}
    assert found & {"wsproto", "h2", "brotli", "zstandard", "ssl", "hashlib"} == set()


def test_what_is_missing_is_left_to_the_script_to_find(tmp_path, monkeypatch) -> None:
    from loadstone_runner.engine.ahead import import_ahead

    monkeypatch.setitem(sys.modules, "brotli", None)
    import_ahead(str(tmp_path), "http://br.example")


def test_libraries_are_not_read_for_words_where_they_lie_beside_the_script() -> None:
    code = "import sys, cython; from loadstone_runner.engine.ahead import import_ahead; import_ahead(sys.prefix, '')"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}; print('wsproto' in sys.modules, 'brotli' in sys.modules, 'ssl' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "False False False\n"), done.stderr

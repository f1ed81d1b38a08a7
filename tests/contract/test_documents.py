"""Documents say what the code does."""

import ast
import re
from pathlib import Path

import pytest

from loadstone_cli.__main__ import main
from loadstone_core.verdict.outcome import RULES
from loadstone_operator.manifests.pods import WORKER_GRACE_SECONDS
from loadstone_runner.agent.session import KILL_AFTER_GRACE_NS, SECOND, TERMINATION_GRACE_NS

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d) \| [^|]+ \| (\w+) \| (\d+) \| ([^|]+?) \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(
        path
        for folder in ("docs", "examples", "tests", "tools", "helm", "benchmarks")
        for path in ROOT.glob(f"{folder}/**/*.md")
    ),
]
promise = pytest.mark.promise


@promise("verdict-table")
def test_the_verdict_table_of_the_documents_is_the_table_in_the_code() -> None:
    written = [
        (int(number), verdict, int(code), reasons.split(", "))
        for number, verdict, code, reasons in ROW.findall((ROOT / "docs" / "verdicts.md").read_text())
    ]

    assert written == [(rule.row, str(rule.verdict), rule.exit_code, list(map(str, rule.reasons))) for rule in RULES]


def test_the_stop_table_of_the_documents_says_how_long_a_deleted_pod_has() -> None:
    (row,) = re.findall(r"^\| delete, .*", (ROOT / "docs" / "verdicts.md").read_text(), re.MULTILINE)

    finishing, flushing, killed = map(int, re.findall(r"(\d+) s\b", row))
    assert (finishing * SECOND, flushing * SECOND) == (TERMINATION_GRACE_NS, KILL_AFTER_GRACE_NS)
    assert killed == WORKER_GRACE_SECONDS


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("make", re.compile(r"(?:^|`)make ([a-z0-9-]*[a-z0-9])(?![-A-Z])\b", re.MULTILINE)),
        ("loadstone", re.compile(r"(?:^|`)loadstone ([a-z]+)", re.MULTILINE)),
    ],
    ids=["make", "loadstone"],
)
def test_every_command_that_a_document_names_exists(command, named) -> None:
    makefiles = (ROOT / "Makefile", *ROOT.glob("tests/e2e/cluster/*.mk"))
    existing = {
        "make": {name for path in makefiles for name in TARGET.findall(path.read_text())},
        "loadstone": set(main.commands),
    }
    written = {(path.name, name) for path in DOCUMENTS for name in named.findall(path.read_text())}

    assert written
    assert {(document, name) for document, name in written if name not in existing[command]} == set()


def test_every_python_block_of_a_document_can_be_read_by_python() -> None:
    blocks = [(path.name, block) for path in DOCUMENTS for block in BLOCK.findall(path.read_text())]

    assert blocks
    for name, block in blocks:
        compile(block, name, "exec", flags=ast.PyCF_ONLY_AST)


def test_every_relative_link_of_a_document_leads_somewhere() -> None:
    links = [(path, link) for path in DOCUMENTS for link in LINK.findall(path.read_text())]

    assert links
    assert [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()] == []


def test_every_test_that_a_document_names_exists() -> None:
    named = re.findall(r"`(\w[\w/]*\.py)::(test_\w+)`", (ROOT / "docs" / "what-if.md").read_text())

    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []

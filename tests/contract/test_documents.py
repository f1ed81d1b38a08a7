"""Documents say what the code does."""

import re
from pathlib import Path

import pytest

from loadstone_core.verdict.outcome import RULES

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d) \| [^|]+ \| (\w+) \| (\d+) \| ([^|]+?) \|$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
promise = pytest.mark.promise


@promise("verdict-table")
def test_the_verdict_table_of_the_documents_is_the_table_in_the_code() -> None:
    written = [
        (int(number), verdict, int(code), reasons.split(", "))
        for number, verdict, code, reasons in ROW.findall((ROOT / "docs" / "verdicts.md").read_text())
    ]

    assert written == [(rule.row, str(rule.verdict), rule.exit_code, list(map(str, rule.reasons))) for rule in RULES]


def test_every_relative_link_of_a_document_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(path, link) for path in documents for link in LINK.findall(path.read_text())]

    assert links
    assert [f"{path.name}: {link}" for path, link in links if not (path.parent / link).exists()] == []


def test_every_test_that_a_document_names_exists() -> None:
    named = re.findall(r"`(\w[\w/]*\.py)::(test_\w+)`", (ROOT / "docs" / "what-if.md").read_text())

    assert len(named) > 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / "tests" / file).read_text()]
    assert missing == []

"""Each id that code and tests cite is a row of `docs/requirements.md`, and the test of each row exists."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

ROWS = re.findall(
    r"^\| ((?:conformance |fault )?[A-Z]\d+) \| (.+?) \| `(tests/[\w/]+\.py)::(test_\w+)` \|$",
    (ROOT / "docs/requirements.md").read_text(),
    re.MULTILINE,
)
KINDS = {"requirement": "S", "promise": "R", "limit": "L", "weakness": "N"}
"""Written before an id, and the letter of their table."""

OWN_LETTERS = ("conformance", "fault")
"""Kinds whose ids have letters that other kinds have too."""

_CITED = re.compile(rf"\b({'|'.join((*KINDS, *OWN_LETTERS))})s?\s+([A-Z]\d{{1,2}})\b", re.IGNORECASE)
_BARE = re.compile(r"\b[SRL]\d{1,2}\b")
_TREES = ("mcp_a2a", "transports", "tests", "examples", "benchmarks")
_PAGES = ("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs")


def prose_of(file: Path) -> str:
    """Comments and documentation of a program, or a whole page."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py" or not (_CITED.search(text) or _BARE.search(text)):
        return text if file.suffix != ".py" else ""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and token.string.startswith('"""'))
    )


def files() -> list[Path]:
    found = [file for tree in _TREES for file in (ROOT / tree).rglob("*.py")]
    for name in _PAGES:
        place = ROOT / name
        found += place.rglob("*.md") if place.is_dir() else [place] if place.exists() else []
    return [file for file in found if "node_modules" not in file.parts]


def test_no_id_is_two_requirements_and_no_line_of_the_page_is_misspelt() -> None:
    ids = [row[0] for row in ROWS]
    lines = [
        line
        for line in (ROOT / "docs/requirements.md").read_text().splitlines()
        if re.match(r"\| (\w+ )?[A-Z]\d", line)
    ]
    assert len(set(ids)) == len(ids) == len(lines)


@pytest.mark.parametrize(("number", "file", "test"), [(row[0], row[2], row[3]) for row in ROWS])
def test_the_test_of_a_requirement_exists(number: str, file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).exists() else ""
    assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE), number


def test_each_id_that_is_cited_is_a_requirement() -> None:
    known, strange = {row[0] for row in ROWS}, []
    for file in files():
        text = prose_of(file)
        cited = {(kind.lower(), number) for kind, number in _CITED.findall(text)}
        named = {f"{kind} {number}" if kind in OWN_LETTERS else number for kind, number in cited}
        bare = set(_BARE.findall(_CITED.sub("", text))) if file.suffix == ".py" else set()
        mixed = {number for kind, number in cited if kind in KINDS and number[0] != KINDS[kind]}
        wrong = (named - known) | (bare - known) | mixed
        strange += [f"{file.relative_to(ROOT)}: {number}" for number in sorted(wrong)]
    assert strange == []

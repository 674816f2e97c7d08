"""The product's docstrings, comments and messages name a noun where a pronoun or a clause would leave it to a guess."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.size import PRODUCT, ROOT, WORDS

MOST_LINES = 30
"""More than the code needs, for a sentence that is better with one."""

MOST_CLAUSES = 30
"""Docstrings that may begin with a clause, as that of a tool may, which a model reads."""

CLAUSE = re.compile("(What|Who|Whose|Whether|How|Where|When|Which) ")

FILES = [file for tree in PRODUCT for file in sorted((ROOT / tree).rglob("*.py"))]


def docstrings(file: Path) -> Iterator[str]:
    """The bare strings of a file: docstrings, and the texts under attributes."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text
            case _:
                pass


def test_few_lines_of_product_code_say_somebody_whoever_or_nobody() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in FILES
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert len(found) <= MOST_LINES, "\n".join(found)


def test_few_docstrings_begin_with_a_clause_in_place_of_their_noun() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {text.splitlines()[0]}"
        for file in FILES
        for text in docstrings(file)
        if CLAUSE.match(text)
    ]
    assert len(found) <= MOST_CLAUSES, "\n".join(found)

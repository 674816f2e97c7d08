"""The product's docstrings, comments and messages name a noun where a pronoun would leave the reader to guess one."""

from __future__ import annotations

from benchmarks.size import PRODUCT, ROOT, WORDS

MOST_LINES = 30
"""More than the code needs, for a sentence that is better with one."""


def test_few_lines_of_product_code_say_somebody_whoever_or_nobody() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for tree in PRODUCT
        for file in sorted((ROOT / tree).rglob("*.py"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if WORDS.search(line)
    ]
    assert len(found) <= MOST_LINES, "\n".join(found)

"""The glossary is short, and no class or module has a name that it retired."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT

MOST_WORDS = 30
PAGE = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
WORDS, _, RETIRED = PAGE.partition("## Names that are retired")

STANDARD_LIBRARY = frozenset({"_Thread"})
"""Words of Python, where they mean what they mean there."""


def retired_names() -> list[str]:
    rows = re.findall(r"^\| (`.+?`) \| .+ \|$", RETIRED, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def retired_words() -> list[str]:
    listed = RETIRED.partition("`tests/docs/test_glossary.py`:")[2]
    return re.findall(r"[A-Z]\w+", listed)


def names() -> Iterator[tuple[str, str]]:
    """Each module, class and other name of a class, and where it is."""
    for tree in ("mcp_a2a", "transports"):
        for file in (ROOT / tree).rglob("*.py"):
            where = str(file.relative_to(ROOT))
            yield file.stem, where
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.ClassDef(name=name):
                        yield name, where
                    case ast.alias(asname=str(name)) | ast.Assign(targets=[ast.Name(id=name)]) if name[:1].isupper():
                        yield name, where
                    case _:
                        pass


NAMES = list(names())


def test_the_glossary_has_at_most_thirty_words_each_once() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", WORDS, re.MULTILINE)
    assert 20 <= len(words) == len(set(words)) <= MOST_WORDS
    assert words == sorted(words)


@pytest.mark.parametrize("retired", retired_names())
def test_a_name_that_was_retired_is_gone(retired: str) -> None:
    assert [where for name, where in NAMES if name == retired] == []


def test_no_new_class_is_named_after_another_metaphor_than_the_post_office() -> None:
    words = retired_words()
    borrowed = re.compile(rf"_?\w*({'|'.join(words)})(?![a-z])")
    classes = {name for name, _ in NAMES if name.lstrip("_")[:1].isupper() and borrowed.match(name)}
    assert len(words) > 20
    assert classes - STANDARD_LIBRARY == set()

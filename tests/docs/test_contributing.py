"""What a contributor is told is true: the commands, the links, the forms of news and of work-arounds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

TOLD = ("CONTRIBUTING.md", "changes/README.md", ".github/pull_request_template.md", "docs/architecture.md")
KINDS = ("added", "changed", "fixed", "security", "removed")
MOST_CHARACTERS = 600
_WHERE = r"(https://github\.com/\S+/(issues|pull)/\d+|not reported)"
WORK_AROUND = re.compile(rf"# Work-around \([\w .-]+\), look again 20\d\d-(0[1-9]|1[0-2]): {_WHERE}$")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_each_command_that_is_told_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    told = {name for page in TOLD for name in re.findall(r"`make ([a-z]+)", text_of(page))}
    assert {"install", "check", "test", "bench"} <= told <= targets


@pytest.mark.parametrize("page", TOLD)
def test_each_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(page))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_each_news_fragment_has_a_kind_and_few_words() -> None:
    fragments = [file for file in (ROOT / "changes").iterdir() if file.name not in ("README.md", "template.md")]
    assert [
        file.name for file in fragments if not re.fullmatch(rf"[a-z0-9-]+\.({'|'.join(KINDS)})\.md", file.name)
    ] == []
    assert [file.name for file in fragments if not 10 < len(file.read_text().strip()) <= MOST_CHARACTERS] == []


def test_the_kinds_of_news_are_those_of_the_configuration() -> None:
    assert tuple(sorted(re.findall(r'directory = "(\w+)", name', text_of("pyproject.toml")))) == tuple(sorted(KINDS))
    assert tuple(re.findall(r"^- `(\w+)`:", text_of("changes/README.md"), re.MULTILINE)) == KINDS


def sources() -> list[Path]:
    return [file for tree in ("mcp_a2a", "transports") for file in (ROOT / tree).rglob("*.py")]


def test_each_work_around_names_its_library_a_date_and_where_it_was_reported() -> None:
    lines = [line.strip() for file in sources() for line in file.read_text().splitlines() if "Work-around" in line]
    assert [line for line in lines if not WORK_AROUND.search(line)] == []
    assert lines

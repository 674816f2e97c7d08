"""Every command that the README files tell people to type is one that is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import typer
import typer.main

from mcp_a2a.cli.app import app
from mcp_a2a.cli.options import split
from tests.cli.test_help import parse

ROOT = Path(__file__).parents[2]
PAGES = (
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")),
    "README.md",
    "SECURITY.md",
    "examples/relay/README.md",
    "examples/relay/Caddyfile",
    "examples/relay/Dockerfile",
)

_FENCE = re.compile(r"^```(?:text|python|json|toml)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?:[^`]* \| )?(mcp-a2a [^`]+)`")
_COMMAND = re.compile(r"^(?:#\s+|.*/bin/|.*exec \w+ )?(mcp-a2a .*)")


def commands(page: str) -> Iterator[str]:
    """Those on a line of a block or of a file's comment, and those within sentences."""
    text = (ROOT / page).read_text()
    lines = [line for block in _FENCE.findall(text) for line in block.splitlines()]
    lines += [line for line in text.splitlines() if line.startswith("#   ")]
    found = [_COMMAND.match(line.partition(" # ")[0]) for line in lines]
    yield from (match[1].strip() for match in found if match)
    yield from (" ".join(words.split()) for words in _INLINE.findall(" ".join(_FENCE.sub("", text).split())))


@pytest.mark.parametrize(("page", "command"), [(page, command) for page in PAGES for command in commands(page)])
def test_what_a_page_says_to_type_is_understood(page: str, command: str) -> None:
    words = shlex.split(command.partition(" | ")[0])[1:]
    _, rest = split(words, {})
    if rest and rest[0] not in ("--help", "--listen"):
        with suppress(typer.Exit):  # a page may lead to --help
            parse(typer.main.get_command(app), rest)


def test_the_pages_have_commands() -> None:
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 30
    assert "mcp-a2a relay serve --listen 0.0.0.0:6060" in found


def test_every_file_that_a_page_leads_to_is_there() -> None:
    for page in filter(lambda page: page.endswith(".md"), PAGES):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), (page, target)

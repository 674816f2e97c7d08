"""The pages that a user reads, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """One fenced block."""

    page: str
    language: str
    """Empty for what is typed in a shell."""
    text: str

    @property
    def lines(self) -> list[str]:
        """Each command, without the comment behind it; a line that ends in a backslash is one with the next."""
        whole = self.text.replace("\\\n", " ")
        return [line.partition(" # ")[0].strip() for line in whole.splitlines() if line.strip()]


def snippets(language: str) -> list[Snippet]:
    """All blocks of a language, in the order of the pages; once each where a page repeats another's commands."""
    found = [
        Snippet(page, language, text)
        for page in PAGES
        for name, text in _FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
        if name == language
    ]
    return list({tuple(one.lines): one for one in reversed(found)}.values())[::-1]


def page_of_mcp_remote() -> Snippet:
    """The configuration with mcp-remote; the tests of clients start it so."""
    (found,) = (one for one in snippets("json") if "mcp-remote" in one.text)
    return found

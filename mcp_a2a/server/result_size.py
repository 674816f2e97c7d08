"""The size of a result that every client passes on whole.

Codex shows its model 40,000 bytes of a result and cuts the middle out of a longer one, tags of a fence included, so
that what follows would stand outside of any. OpenCode shows 50 KiB and 2,000 lines, Claude Code 25,000 tokens.
Record: docs/decisions/0033-real-clients.md.
"""

from __future__ import annotations

import json
from bisect import bisect_right

RESULT_WEIGHT = 34_000
"""Of one result: what others wrote, the fences around it and the lists that it stands in; the rest is facts of ours."""

PAGE_CHARS = 20_000
"""Characters of one text that a result shows at most."""

PAGE_WEIGHT = 28_000
"""Weight of one text that a result shows at most; a page of ordinary text ends by its characters."""

LEAST_WEIGHT = 200
"""The room that any text gets, however full a result is."""

_LINE = 18


def weight(text: str) -> int:
    """Bytes of a text within JSON, and something for each line, since clients count lines as well."""
    return len(json.dumps(text, ensure_ascii=False).encode(errors="surrogatepass")) - 2 + _LINE * text.count("\n")


def fitting(text: str, chars: int = PAGE_CHARS, room: int = PAGE_WEIGHT) -> int:
    """The number of its first characters that fit: at most `chars`, of at most the weight `room`."""
    head = text[:chars]
    if weight(head) <= room:
        return len(head)
    return bisect_right(range(len(head) + 1), room, key=lambda end: weight(head[:end])) - 1

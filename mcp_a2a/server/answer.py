"""From a view to a tool result: structured content and a short text, one of which a client passes on to its model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_a2a.server.fence import Fence
from mcp_a2a.server.outgoing import NOTICE, for_models

ViewT = TypeVar("ViewT", bound=BaseModel)


def answer(
    view: ViewT, lines: Callable[[ViewT, Fence], Iterable[str]], notice: str = NOTICE, *, whole_keys: bool = False
) -> CallToolResult:
    """The view as structured content, and its lines as text.

    Both have what a peer wrote in the same fence, because some clients pass on nothing but the one, some but the other.
    """
    fence = Fence()
    return CallToolResult(
        content=[TextContent(type="text", text="\n".join(line for line in lines(view, fence) if line))],
        structured_content=for_models(view, fence, notice, whole_keys=whole_keys),
    )

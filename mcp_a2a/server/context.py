"""The context of a tool call: the node, a sign of life while it waits, and the result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import anyio
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_a2a.errors import McpA2AError
from mcp_a2a.server.fence import Fence
from mcp_a2a.server.outgoing import NOTICE, for_models

if TYPE_CHECKING:  # importing the ports imports the crypto libraries, and `initialize` is answered before those
    from mcp_a2a.ports import NodeApi

    Call: TypeAlias = Context[NodeApi, object]
else:
    Call = Context

PRINCIPAL = "mcp_a2a.principal"
"""The key of the scope under which the guard of the HTTP server leaves the proof that the owner calls."""

PROGRESS_SECONDS = 4.0
"""Clients that reset a deadline on progress are the ones with a short deadline."""

deadline: ContextVar[anyio.CancelScope | None] = ContextVar("deadline", default=None)
"""Ends the call that is being served, should the node not answer. Time in which a person thinks does not count."""

came_at: ContextVar[float] = ContextVar("came_at")
"""The time at which the present call came, in seconds of the event loop."""

T = TypeVar("T")


def node_of(ctx: Call) -> NodeApi:
    """The node that this server fronts."""
    return ctx.request_context.lifespan_context


def proves_user(ctx: Call) -> bool:
    """True if what carried this call proves that the user's own client made it, so that the user answers questions.

    A pipe does: the client started this process. Over HTTP the guard says how the owner was proven, if it was.
    """
    return principal_of(ctx.request_context.request) is not None


def principal_of(request: object) -> str | None:
    """The proof that the owner makes a request: on a pipe none is needed; else the guard left it in the scope."""
    if request is None:
        return "pipe"
    scope = getattr(request, "scope", None)
    found = scope.get(PRINCIPAL) if isinstance(scope, dict) else None
    return found if isinstance(found, str) else None


def age_of_call() -> float:
    """Seconds since the call came: its progress, which may only grow, whatever it waits for (MCP, Progress)."""
    return anyio.current_time() - came_at.get()


async def while_reporting(ctx: Call, answer: Awaitable[T], seconds: float, doing: str) -> T:
    """Await a node's answer that may take up to `seconds`, and report progress until it is there.

    Raises:
        McpA2AError: what the node raised.
    """
    if seconds <= 0:
        return await answer
    async with anyio.create_task_group() as group:
        group.start_soon(_report, ctx, seconds, doing)
        outcome = await _settle(answer)
        group.cancel_scope.cancel()
    if isinstance(outcome, McpA2AError):
        raise outcome
    return outcome


async def _settle(answer: Awaitable[T]) -> T | McpA2AError:
    # A task group would wrap the error in a group, and the translator wants to see the error itself.
    try:
        return await answer
    except McpA2AError as error:
        return error


async def _report(ctx: Call, seconds: float, doing: str) -> None:
    end = age_of_call() + seconds
    while True:
        await anyio.sleep(PROGRESS_SECONDS)
        elapsed = age_of_call()
        await ctx.report_progress(elapsed, total=max(end, elapsed), message=f"{doing}, {elapsed:.0f} s")


# From a view to a tool result: structured content and a short text, one of which a client passes on to its model.

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

"""Resources: what a person hands to a model by name, as Claude Code does for `@a2a:a2a://agents`.

Each is the text of a tool that only reads, fences and limits included, so there is one door for peer text. The list of
resources is ours: no agent and no task puts a word into it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, Resource, ResourceTemplate, TextContent

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import DiscoveryError
from mcp_a2a.errors.tasks import TaskForgottenError, TaskNotFoundError
from mcp_a2a.server.agents import get_agent, list_agents
from mcp_a2a.server.context import Call
from mcp_a2a.server.explain import sentence
from mcp_a2a.server.tasks import get_task_status, list_tasks

NOT_FOUND = -32002
"""Of MCP before 2026-07-28; from then on it is -32602 (SEP-2164)."""

RENAMED_SINCE = "2026-07-28"
MIME = "text/plain"
MAX_URI = 2_048

AGENTS, TASKS = "a2a://agents", "a2a://tasks"

RESOURCES = [
    Resource(uri=AGENTS, name="agents", title="Agents", description="Agents that take tasks.", mime_type=MIME),
    Resource(uri=TASKS, name="tasks", title="Tasks", description="Tasks sent and received.", mime_type=MIME),
]
TEMPLATES = [
    ResourceTemplate(
        uri_template=f"{AGENTS}/{{agent}}", name="agent", title="Agent",
        description="One agent, by its name, did or URL (percent-encoded).", mime_type=MIME,
    ),
    ResourceTemplate(
        uri_template=f"{TASKS}/{{task_id}}", name="task", title="Task",
        description="One task with its answer.", mime_type=MIME,
    ),
]  # fmt: skip

_ONE = re.compile(r"a2a://(agents|tasks)/([^/?#]{1,1024})")

Reading = Callable[[Call], Awaitable[CallToolResult]]


def is_ours(uri: str) -> bool:
    """True if a URI is of the kind that this server has."""
    return uri.startswith("a2a://")


async def read(uri: str, ctx: Call) -> list[ReadResourceContents]:
    """A resource, whole.

    Raises:
        MCPError: there is none of this URI, or the node cannot say.
    """
    try:
        result = await _reading(uri, ctx)(ctx)
    except (DiscoveryError, TaskNotFoundError, TaskForgottenError) as error:
        raise not_found(uri, ctx, sentence(error)) from None
    except McpA2AError as error:
        raise MCPError(INTERNAL_ERROR, sentence(error), {"uri": uri}) from None
    text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    return [ReadResourceContents(text, MIME)]


def _reading(uri: str, ctx: Call) -> Reading:
    if uri == AGENTS:
        return list_agents
    if uri == TASKS:
        return list_tasks
    found = _ONE.fullmatch(uri) if len(uri) <= MAX_URI else None
    if found is None:
        raise not_found(uri, ctx)
    kind, asked = found[1], unquote(found[2])
    if kind == "agents":
        return lambda call: get_agent(asked, call)
    return lambda call: get_task_status(asked, call)


def not_found(uri: str, ctx: Call, why: str = "") -> MCPError:
    """What is answered for a URI that names nothing, in the code of the era."""
    code = INVALID_PARAMS if (ctx.protocol_version or "") >= RENAMED_SINCE else NOT_FOUND
    said = why or "There is no such resource. resources/list and resources/templates/list have those of this server."
    return MCPError(code, said, {"uri": uri[:MAX_URI]})

"""Resources: what a person hands to a model by name, as Claude Code does for `@a2a:a2a://agents`.

Each is the text of a tool that only reads, fences and limits included, so there is one door for peer text. The list of
resources is ours: no agent and no task puts a word into it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    Resource,
    ResourceTemplate,
    TextContent,
)

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import DiscoveryError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.tasks import TaskForgottenError, TaskNotFoundError
from mcp_a2a.protocol.text import clean
from mcp_a2a.server.agents import get_agent, list_agents
from mcp_a2a.server.arguments import check_names
from mcp_a2a.server.context import Call
from mcp_a2a.server.fence import unwrapped
from mcp_a2a.server.prose import sentence
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
    """The error for an unknown URI, in the code of the era."""
    code = INVALID_PARAMS if (ctx.protocol_version or "") >= RENAMED_SINCE else NOT_FOUND
    said = why or "There is no such resource. resources/list and resources/templates/list have those of this server."
    return MCPError(code, said, {"uri": uri[:MAX_URI]})


# Prompts: what a person starts by name. Claude Code and Gemini CLI show them as commands, /inbox and /ask AGENT.
#
# They hold our words and those of the person who starts them, and none of a peer.

MOST_CHARS = {"agent": 512, "message": 20_000}
"""Of each argument. What is longer is refused: cut, a part of what a person wrote would go missing without a word."""

Given = Mapping[str, str]


@dataclass(frozen=True)
class PromptSpec:
    """A prompt as it is listed, and what is made of its arguments."""

    listed: Prompt
    write: Callable[[Given], str]


def _inbox(_: Given) -> str:
    return (
        "Look with check_inbox for tasks that other agents sent me. Tell me who asks for what. Do what I would allow "
        "for that sender, answer each with answer_task, and reject the rest. If agents wait to be accepted, tell me "
        "how many, and call accept_contact only if I say so."
    )


def _ask(given: Given) -> str:
    agent, message = _one_line(given["agent"]), clean(given.get("message", "")).strip()
    what = (
        f"The task:\n\n{message}"
        if message
        else "It is what I say next; if I have said nothing yet, ask me what to send."
    )
    return f"Send the agent {agent} a task with send_task, and tell me its answer, which may come later. {what}"


def _one_line(said: str) -> str:
    return " ".join(clean(unwrapped(said)).split())


_AGENT = PromptArgument(name="agent", description="Name, did or URL of the agent.", required=True)
_MESSAGE = PromptArgument(name="message", description="What to send it.", required=False)

PROMPTS: Mapping[str, PromptSpec] = {
    spec.listed.name: spec
    for spec in (
        PromptSpec(
            Prompt(name="inbox", title="Check the inbox", description="Work on what other agents sent me."), _inbox
        ),
        PromptSpec(
            Prompt(
                name="ask",
                title="Ask an agent",
                description="Send an agent a task, and tell me its answer.",
                arguments=[_AGENT, _MESSAGE],
            ),
            _ask,
        ),
    )
}


def written(name: str, arguments: Mapping[str, object]) -> GetPromptResult:
    """A prompt with its arguments in it.

    Raises:
        MCPError: there is no such prompt, or an argument is missing, too long, or not one of it (MCP: -32602).
    """
    spec = PROMPTS.get(name)
    if spec is None:
        raise MCPError(INVALID_PARAMS, "There is no such prompt. prompts/list has those of this server.")
    known = [argument.name for argument in spec.listed.arguments or ()]
    try:
        check_names(f"The prompt {name}", arguments, known)
    except ConfigurationError as wrong:
        raise MCPError(INVALID_PARAMS, str(wrong)) from None
    given = {key: value for key, value in arguments.items() if isinstance(value, str) and value.strip()}
    for argument in spec.listed.arguments or ():
        if argument.required and argument.name not in given:
            raise MCPError(INVALID_PARAMS, f"The prompt {name} needs the argument {argument.name}.")
    for argument_name, most in MOST_CHARS.items():
        if len(given.get(argument_name, "")) > most:
            raise MCPError(INVALID_PARAMS, f"The argument {argument_name} has more than {most:,} characters.")
    message = PromptMessage(role="user", content=TextContent(type="text", text=spec.write(given)))
    return GetPromptResult(description=spec.listed.description, messages=[message])

"""Prompts: what a person starts by name. Claude Code and Gemini CLI show them as commands, /inbox and /ask AGENT.

They hold our words and those of the person who starts them, and none of a peer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.protocol.text import clean
from mcp_a2a.server.arguments import check_names
from mcp_a2a.server.fence import unwrapped

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

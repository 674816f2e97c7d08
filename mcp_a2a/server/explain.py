"""What a model reads when a tool fails: what was tried and what to do next, in sentences, and nothing else.

One door: every failure of every tool comes through `explain`.
"""

from __future__ import annotations

import logging
import secrets

from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import ValidationError

from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.plain_words import faults_of
from mcp_a2a.protocol.text import clean
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.server.fence import Fence

logger = logging.getLogger(__name__)

_QUOTES_WITH = {"agent_not_found": "closest", "skill_not_found": "closest", "unreachable": "attempts"}
"""Errors whose message quotes another agent only sometimes: the code, and the attribute that is empty when not."""

_OWN_WORDS = frozenset({
    "configuration", "home_unusable", "database_damaged", "row_damaged", "disk_unreadable",
    "key_file", "port_in_use", "relay_runs", "schema_too_new", "storage_full",
    "too_large", "queue_full", "task_not_found", "invalid_transition", "lease_lost", "self_send", "not_awaiting_reply",
    "not_sent", "no_files",
    "context_mismatch", "page_token", "key_changed", "local_protocol", "consent_needed", "consent_declined",
    "files_wait", "hop_limit", "nothing_waits", "task_forgotten", "not_forgettable", "node_silent", "key_reused",
    "conversation_full",
})  # fmt: skip
"""Errors whose message has no word of another agent. Every other one is fenced."""


_OF_THE_QUESTION = "Resolver "
"""How the SDK begins what it says of an answer to a question that is none; the rest names functions of ours."""

_NO_ANSWER = (
    "Nothing was done: your user was to be asked first, and what the client sent as their answer does not answer the "
    "question. Call it again, and they are asked again; or they decide in a terminal, with its did or URL: "
    "mcp-a2a allow KEY for what is sent there, mcp-a2a trust KEY for what comes from there."
)


def explain(tool: str, failure: ToolError) -> str:
    """The text of the error result."""
    cause = _root(failure)
    match cause:
        case McpA2AError():
            return sentence(cause)
        case ValidationError():
            return _arguments(tool, cause)
        case ToolError() if str(cause).startswith(_OF_THE_QUESTION):
            return _NO_ANSWER
        case None:
            return str(failure)
        case ToolError() | ResourceError():
            return str(cause)
        case _:
            return _unexpected(tool, cause)


def out_of_time(tool: str, seconds: float) -> str:
    """What a model reads when the node did not answer at all."""
    return (
        f"{tool} got no answer from this node within {seconds:.0f} seconds. If it was to send something, that may have "
        "been stored and be on its way: look with list_tasks before you send it again. The reason is in this server's "
        "log (its standard error, which MCP clients keep); tell your user."
    )


def _root(failure: ToolError) -> BaseException | None:
    cause = failure.__cause__
    while isinstance(cause, BaseExceptionGroup) and len(cause.exceptions) == 1:
        cause = cause.exceptions[0]
    return cause


def sentence(error: McpA2AError) -> str:
    """What went wrong and what to do next; fenced where it may quote another agent."""
    message, hint = with_short_urls(error.message), with_short_urls(error.hint)
    # An error that another process of ours raised comes without its attributes, so it counts as quoting.
    if error.code in _OWN_WORDS or not getattr(error, _QUOTES_WITH.get(error.code, ""), True):
        return clean(f"{message} {hint}".strip())
    quoted = Fence().block(message, "error message, with words that other agents chose")
    return f"{quoted}\nNext: {clean(hint)}" if hint else quoted


def _arguments(tool: str, error: ValidationError) -> str:
    return f"{tool} was not called: its arguments are not valid. {faults_of(error)}. Correct them and call it again."


def _unexpected(tool: str, error: BaseException) -> str:
    reference = secrets.token_hex(3)
    logger.error("unexpected failure %s in tool %s", reference, tool, exc_info=error)
    return (
        f"{tool} failed unexpectedly inside mcp-a2a, which is a bug. A task that was stored before is not lost: "
        f"list_tasks shows it. The details are in this server's log (its standard error, which MCP clients keep), "
        f"reference {reference}. Tell your user; with the same idempotency_key a second call does no work twice."
    )

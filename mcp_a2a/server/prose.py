"""Tasks in words a model can act on: facts first, then the fenced words of others, then what to do next."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterator, Sequence

from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import ValidationError

from mcp_a2a.api.tasks import ArtifactView
from mcp_a2a.errors import McpA2AError
from mcp_a2a.protocol.model import Part
from mcp_a2a.protocol.moment import ENDED
from mcp_a2a.protocol.plain_words import faults_of
from mcp_a2a.protocol.text import clean, cleaned_value, preview
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.server.brief import OFFERED_AGAIN, TaskAnswer, TaskLine
from mcp_a2a.server.fence import Fence, label, plain
from mcp_a2a.server.files import file_lines, transfer_line

ALL_OF_IT = "Your user, or you where you have a shell, can read all of it: mcp-a2a task {} --json"

_TRIED_SHOWN = 8


def task_lines(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    """The text of a result about one task."""
    yield f"{headline(task)}{f', via {task.route}' if task.route else ''}{_attempt(task)}."
    yield from _asked(task, fence)
    if task.chosen:
        yield fence.block(task.chosen, "reason why this agent was chosen")
    if task.tried:
        tried = "; ".join(preview(attempt, 160) for attempt in task.tried[-_TRIED_SHOWN:])
        yield fence.block(f"Tried: {tried}", "list of what was tried")
    yield transfer_line(task.transfer)
    if task.put_off:
        yield fence.block(task.put_off, "reason why it is not taken now (it is tried again)")
    yield from _words_of_others(task, fence)
    if task.next:
        yield f"Next: {task.next}"


def headline(task: TaskAnswer | TaskLine) -> str:
    """The state of the task, and its other side."""
    who = label(task.agent.name, task.agent.did)
    return f"{task.task_id}: {task.state}, {'to' if task.direction == 'sent' else 'from'} {who}"


def _attempt(task: TaskAnswer) -> str:
    return f", attempt {task.attempts}" if task.attempts >= OFFERED_AGAIN else ""


def _asked(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    for what, said in (("Asked", task.request), ("Replied", task.reply)):
        if said:
            yield f"{what}: {asked(said, fence, ours=task.asked_here)}"


def asked(said: str, fence: Fence, *, ours: bool) -> str:
    """The request; unfenced if only the owner of this node wrote it."""
    return cleaned(said) if ours else fence.around(said)


def cleaned(said: str) -> str:
    """Words of the owner, in one line and in quotes."""
    return json.dumps(preview(said, len(said)), ensure_ascii=False)


def data_parts(parts: Sequence[Part]) -> list[str]:
    """The data of the parts, besides text and files, as JSON, one line each."""
    return [
        # Cleaned before it is JSON, where a control character stands as six that are none.
        json.dumps(cleaned_value(part.model_dump(mode="json", by_alias=True, exclude_none=True)), ensure_ascii=False)
        for part in parts
        if part.text is None and part.raw is None and not (part.url or "").startswith("blob:")
    ]


def _words_of_others(task: TaskAnswer, fence: Fence) -> Iterator[str]:
    who = plain(task.agent.name)
    if task.skill:
        yield fence.block(task.skill, f"skill that {who} asks for")
    if task.question:
        yield fence.block(task.question, f"question from {who}")
    if task.progress:
        yield fence.block(task.progress, f"progress from {who}")
    if task.text:
        yield fence.block(task.text, f"{'result' if task.direction == 'sent' else 'request'} from {who}")
    if task.answer:
        yield f"Answered: {fence.around(task.answer)}"
    if data := _data(task.artifacts):
        yield fence.block(data, f"structured results from {who}", ALL_OF_IT.format(task.task_id))
    yield from file_lines(task.files, task.agent, fence)
    if task.error:
        # The sentence is the agent's own when it failed by itself, ours when the message never got there.
        yield fence.block(task.error.message, f"reason, told by {who} or found on the way")
        if task.error.hint and task.state in ENDED:
            yield f"Next: {task.error.hint}"


def _data(artifacts: Sequence[ArtifactView]) -> str:
    return "\n".join(line for artifact in artifacts for line in data_parts(artifact.parts))


# What a model reads when a tool fails: what was tried and what to do next, in sentences, and nothing else.
#
# One door: every failure of every tool comes through `explain`.

logger = logging.getLogger(__name__)

_QUOTES_WITH = {"agent_not_found": "closest", "skill_not_found": "closest", "unreachable": "attempts"}
"""Errors whose message quotes another agent only sometimes: the code, and the attribute that is empty when not."""

_OF_THE_QUESTION = "Resolver "
"""The beginning of the SDK's error about an invalid answer to a question; the rest names functions of ours."""

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
    """The sentence for a model when the node did not answer at all."""
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
    """The error and the next step; fenced if it may quote another agent."""
    message, hint = with_short_urls(error.message), with_short_urls(error.hint)
    # An error that another process of ours raised comes without its attributes, so it counts as quoting.
    if not error.quotes or not getattr(error, _QUOTES_WITH.get(error.code, ""), True):
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

"""The meaning of an error for a message to an agent at a URL, or for a look at its task. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.errors.web import TaskLostError, WebAnswerError, WebError, WebFailedError, WebRefusedError
from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.model import Fault, Kind
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import with_short_urls
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.web_ports import AUTH, AnswerLostError, NotNowError

DISK_SECONDS = 5.0
"""Pause after an error of this machine: its disk is full, for example."""

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        AUTH: Fault.AUTH,
        "TASK_NOT_FOUND": Fault.TASK_GONE,
        "NOT_FOUND": Fault.GONE,  # a bare 404 of the path of the task; a gateway says that while the agent is away
    }
)
"""By the reason of a refusal to show a task. Any other is an answer that makes no sense."""


def answer_of(error: McpA2AError, row: OutboxRow, *, is_taken: bool) -> Answered:
    """The report about a message that was answered by this error, or could not be sent.

    Args:
        error: what went wrong.
        row: the message.
        is_taken: whether the agent has told its name for the task.
    """
    words = with_short_urls(error.message)
    match error:
        case AnswerLostError():
            return Answered(Word.LOST, code=words)
        case FileError():
            return Answered(Word.REFUSED, signed=True, code=words)
        case WebError() if not may_pass(error):
            is_over = row.type == Kind.CANCEL or (is_taken and _went_on(error))
            return Answered(Word.SUPERSEDED if is_over else Word.REFUSED, signed=True, code=words)
    return Answered(Word.REFUSED, code=words, retry_after=pause_of(error) or None)


def fault_of(error: McpA2AError) -> Fault:
    """The report about a look that failed with this error."""
    if not isinstance(error, WebError) or may_pass(error):
        return Fault.UNREACHABLE
    return FAULTS.get(error.reason, Fault.UNREADABLE) if isinstance(error, WebRefusedError) else Fault.UNREADABLE


def may_pass(error: WebError) -> bool:
    """True if the agent may answer otherwise later, and has not done anything by then."""
    return error.retryable and not isinstance(error, WebFailedError)


def pause_of(error: McpA2AError) -> float:
    """The pause that an error asks for, in seconds; 0 if it asks for none."""
    if isinstance(error, NotNowError):
        return error.seconds
    return 0.0 if isinstance(error, WebError) else DISK_SECONDS


def has_heard(task: Task, error: McpA2AError, lost: int) -> bool:
    """True if the agent may have acted on a message that ended with this error, after `lost` answers were lost."""
    return isinstance(error, WebAnswerError) or task.remote is not None or lost > 0


def given_up(task: Task, error: McpA2AError, lost: int) -> McpA2AError:
    """The error of a task that ends with `error`, after the answers to a message were lost `lost` times."""
    if task.remote is not None and fault_of(error) in (Fault.TASK_GONE, Fault.GONE):
        return TaskLostError(task.peer)
    if not lost:
        return error
    # Also where it refuses the last time, as a message that it knows already.
    times = lost if isinstance(error, AnswerLostError) else lost + 1
    return WebAnswerError(
        f"{error.message} It was told {times} times, and may have done it.",
        "Look there, or ask its owner, before you send it again.",
    )


def _went_on(error: WebError) -> bool:
    """True if a refusal may only mean that the agent went on already: a reply whose answer was lost is told twice."""
    return isinstance(error, WebRefusedError) and error.reason == "UNSUPPORTED_OPERATION"

"""A message in a stream: in A2A it is all of the stream (3.1.2), and some agents tell one in pieces, or on the way.

message, end              ->  the message
message, message, end     ->  one message: what has one id, or none, is one text, in pieces or each time with more
message, task or update   ->  what the agent says while it works, and then that
task, message, end        ->  what it says while it works, which is the answer where nothing follows it
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence

import anyio

from mcp_a2a.a2a.client_faults import wrong
from mcp_a2a.a2a.sse import MAX_EVENT
from mcp_a2a.errors.web import WebAnswerError, WebError
from mcp_a2a.protocol.model import Message, StreamResponse, TaskState, TaskStatus, TaskStatusUpdateEvent
from mcp_a2a.protocol.task.artifacts import continued

HOLD_SECONDS = 1.0
"""How long a message waits for what comes behind it, where the stream does not end with it. Not behind a task: its
stream ends with it (3.1.2), so as long as that is open the agent works."""

logger = logging.getLogger(__name__)


async def whole_messages(
    events: AsyncIterator[Sequence[StreamResponse]], url: str
) -> AsyncIterator[Sequence[StreamResponse]]:
    """The events of the agent at a URL with each message whole, and only at the end of them.

    Raises:
        WebAnswerError: a message is larger in its pieces than it could be in one.
    """
    held: Message | None = None
    size = 0
    begun = ""
    told: Sequence[StreamResponse] | None = ()
    while told is not None:
        told = await _next(events, may_be_all=held is not None and not begun)
        known: list[StreamResponse] = []
        for event in told or ():
            if (piece := event.message) is not None:
                held = piece if held is None else _with(held, piece)
                size = len(piece.to_json()) + (0 if held.parts is piece.parts else size)
                if held is not piece and size > MAX_EVENT:
                    raise wrong(url, WebAnswerError("a message of its stream does not end"))
                if begun:
                    known.append(_on_the_way(held, begun))
                continue
            if held is not None and not begun:
                known.append(_on_the_way(held, _task_of(event)))
            held, begun = None, begun or _task_of(event)
            known.append(event)
        if known:
            yield known
    if held is not None:
        yield [StreamResponse(message=held)]


async def _next(
    events: AsyncIterator[Sequence[StreamResponse]], *, may_be_all: bool
) -> Sequence[StreamResponse] | None:
    """What comes next; None where nothing does, or nothing in time or to be read behind what `may_be_all`."""
    with anyio.move_on_after(HOLD_SECONDS if may_be_all else math.inf):
        try:
            return await anext(events)
        except StopAsyncIteration:
            return None
        except WebError as error:
            if not may_be_all:
                raise
            logger.info("behind a message its agent told nothing that can be read: %s", error)  # it has answered
    return None


def _with(held: Message, piece: Message) -> Message:
    same = held.message_id == piece.message_id
    parts = continued(held.parts, piece.parts) if same else (*held.parts, *piece.parts)
    return piece.model_copy(update={"parts": parts})


def _task_of(event: StreamResponse) -> str:
    update = event.status_update or event.artifact_update
    return event.task.id if event.task is not None else update.task_id if update is not None else ""


def _on_the_way(message: Message, task_id: str) -> StreamResponse:
    """What an agent has said of this task, as A2A has it."""
    status = TaskStatus(state=TaskState.WORKING, message=message)
    told = TaskStatusUpdateEvent(task_id=task_id, context_id=message.context_id or "", status=status)
    return StreamResponse(status_update=told)

"""A message in a stream: in A2A it is all of the stream (3.1.2), and some agents tell one in pieces, or on the way.

message, end              ->  the message
message, message, end     ->  one message: what has one id, or none, is one text, in pieces or each time with more
message, task or update   ->  what the agent says while it works, and then that
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence

import anyio

from mcp_a2a.a2a.client_faults import wrong
from mcp_a2a.a2a.sse import MAX_EVENT
from mcp_a2a.errors import WebAnswerError, WebError
from mcp_a2a.protocol.artifacts import continued
from mcp_a2a.protocol.model import Message, StreamResponse, TaskState, TaskStatus, TaskStatusUpdateEvent

HOLD_SECONDS = 1.0
"""How long a message waits for what comes behind it, where the stream does not end with it."""

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
    told: Sequence[StreamResponse] | None = ()
    while told is not None:
        told = await _next(events, held)
        known: list[StreamResponse] = []
        for event in told or ():
            if (piece := event.message) is not None:
                held = piece if held is None else _with(held, piece)
                size = len(piece.to_json()) + (0 if held.parts is piece.parts else size)
                if held is not piece and size > MAX_EVENT:
                    raise wrong(url, WebAnswerError("a message of its stream does not end"))
                continue
            if held is not None:
                known.append(_on_the_way(held, event))
                held = None
            known.append(event)
        if known:
            yield known
    if held is not None:
        yield [StreamResponse(message=held)]


async def _next(
    events: AsyncIterator[Sequence[StreamResponse]], held: Message | None
) -> Sequence[StreamResponse] | None:
    """What comes next; None where nothing does, or where a message has waited long enough for it."""
    with anyio.move_on_after(math.inf if held is None else HOLD_SECONDS):
        try:
            return await anext(events)
        except StopAsyncIteration:
            return None
        except WebError as error:
            if held is None:
                raise
            logger.info("behind a message its agent told nothing that can be read: %s", error)  # it has answered
    return None


def _with(held: Message, piece: Message) -> Message:
    same = held.message_id == piece.message_id
    parts = continued(held.parts, piece.parts) if same else (*held.parts, *piece.parts)
    return piece.model_copy(update={"parts": parts})


def _on_the_way(message: Message, event: StreamResponse) -> StreamResponse:
    """What an agent has said of the task that this event tells of, as A2A has it."""
    update = event.status_update or event.artifact_update
    task_id = event.task.id if event.task is not None else update.task_id if update is not None else ""
    status = TaskStatus(state=TaskState.WORKING, message=message)
    told = TaskStatusUpdateEvent(task_id=task_id, context_id=message.context_id or "", status=status)
    return StreamResponse(status_update=told)

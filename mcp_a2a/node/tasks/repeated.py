"""Tells a request that is made again from another one under the same idempotency key.

The first is the same task once more. The second would get the answer to a question that it did not ask, so it is
refused (as the `Idempotency-Key` draft of the IETF, section 2.6, has it).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcp_a2a.api.files import FileArg
from mcp_a2a.errors.tasks import KeyReusedError
from mcp_a2a.protocol.blob import is_blob, safe_name
from mcp_a2a.protocol.model import Message, Part
from mcp_a2a.protocol.task.task import Task


def check_opening(known: Task, message: Message, skill: str | None, files: Sequence[FileArg] = ()) -> None:
    """Let a request pass that opens this task once more; where its texts were deleted, nothing is left to compare.

    Raises:
        KeyReusedError: it asks for something else.
    """
    first = known.messages[0]
    moved = message.context_id is not None and message.context_id != known.context_id
    if known.forgotten is None and (moved or skill != known.skill or not _same(first, message, files)):
        raise KeyReusedError(known.id)


def check_message(known: Task, message: Message, skill: str | None) -> None:
    """The same for a message that was made to be sent: its context is made anew each time, and tells nothing.

    Raises:
        KeyReusedError: it asks for something else.
    """
    check_opening(known, message.model_copy(update={"context_id": None}), skill)


def check_turn(known: Task, message: Message, files: Sequence[FileArg] = ()) -> bool:
    """True if this was said in the task before, under the same key.

    Raises:
        KeyReusedError: this key said something else there.
    """
    before = [said for said in known.said if said.message_id == message.message_id]
    if known.forgotten is not None or not before:
        return False
    if not any(_same(said, message, files) for said in before):
        raise KeyReusedError(known.id)
    return True


def _same(known: Message, message: Message, files: Sequence[FileArg]) -> bool:
    named = (safe_name(file.name or Path(file.path).name) for file in files)
    return (*_shape(known.parts),) == (*_shape(message.parts), *named)


def _shape(parts: Sequence[Part]) -> Sequence[Part | str | None]:
    """The parts, and of files the names: what is in a file may have changed, or be gone, by the second time."""
    return [part.filename if part.raw is not None or is_blob(part) else part for part in parts]

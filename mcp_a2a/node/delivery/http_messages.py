"""Our messages as an agent at a URL gets them: under its own names, and with their files in them."""

from __future__ import annotations

import base64

import anyio.to_thread

from mcp_a2a.api.a2a import HOP
from mcp_a2a.api.files import FileGrant
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files.files import Files
from mcp_a2a.node.files.received import content_of
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.blob import is_blob
from mcp_a2a.protocol.model import Message, Part
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.web import find_web_context

MAX_SENT_FILES = 20 * 1024 * 1024
"""Of files with one message: over HTTP they travel in it."""

OURS = "ctx-"
"""A conversation with such a name is one that we began: the agent has a name of its own for it."""


class HttpMessages:
    """Makes the messages to agents at URLs."""

    def __init__(self, context: Context, files: Files) -> None:
        self._context, self._files = context, files

    async def made(self, record: Task, message: Message) -> Message:
        """Our message under their names, with its files in it."""
        context_id = self._context.database.read(lambda c: find_web_context(c, record.peer, record.context_id))
        if context_id is None and not record.context_id.startswith(OURS):
            context_id = record.context_id  # the caller that asked for the task has it from the agent
        opens = message.message_id == record.messages[0].message_id
        metadata = dict(message.metadata or {})
        if record.skill is not None and opens:
            metadata["skill"] = record.skill
        if record.hop:
            metadata[HOP] = record.hop
        return message.model_copy(
            update={
                "task_id": None if opens else record.remote,
                "context_id": context_id,
                "metadata": metadata or None,
                "parts": await self._with_files(record, message.parts),
            }
        )

    async def _with_files(self, record: Task, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if not any(map(is_blob, parts)):
            return parts
        grants = {grant.file_id: grant for grant in self._files.all(record)}
        made: list[Part] = []
        room = MAX_SENT_FILES
        for part in parts:
            if not is_blob(part):
                made.append(part)
                continue
            grant = grants[(part.url or "").removeprefix("blob:")]
            room -= grant.size or 0
            if room < 0:
                raise FileError(
                    f"An agent at a URL takes at most {MAX_SENT_FILES // 1024 // 1024} MiB of files with one message.",
                    "Put the files where it can fetch them, and send it the address.",
                )
            content = await anyio.to_thread.run_sync(_content, grant)
            raw = base64.b64encode(content).decode()
            made.append(Part(raw=raw, filename=part.filename, media_type=part.media_type))
        return tuple(made)


def _content(grant: FileGrant) -> bytes:
    return b"".join(content_of(grant))

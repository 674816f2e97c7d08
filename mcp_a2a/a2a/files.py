"""Files as A2A clients get them: content that fits into an answer stands in it, anything larger has a URL here.

A part that names a file beside its message (`protocol.blob`) means something to peers only. Its key never gets here:
the node says where the content lies, and only for tasks of the caller.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import anyio.to_thread

from mcp_a2a.a2a.faults import Fault, Kind
from mcp_a2a.api.files import FileGrant, FilesRequest
from mcp_a2a.errors.tasks import FileError, TaskNotFoundError
from mcp_a2a.node.files.received import content_of
from mcp_a2a.protocol.blob import SCHEME, is_blob
from mcp_a2a.protocol.model import Artifact, Message, Part, StreamResponse, TaskDocument

if TYPE_CHECKING:
    from mcp_a2a.api.a2a import A2AAnswer, A2ATaskPage
    from mcp_a2a.ports import NodeApi

MAX_INLINE = 4 * 1024 * 1024
"""Content of one answer that stands in it as `raw`."""

MAX_INLINE_EVENT = 256 * 1024
"""The same of one event of a stream: it is one line, and clients take a long one for an attack."""

CHUNKS_AT_ONCE = 16
"""A mebibyte is read in one go, beside the event loop."""

FileUrl = Callable[[str, str], str]
"""The URL of a file of a task, by the ids of both."""


@dataclass(frozen=True)
class Download:
    """A file on its way to a client."""

    name: str
    media_type: str
    size: int
    chunks: AsyncIterator[bytes]


async def open_file(node: NodeApi, caller: str, task_id: str, file_id: str) -> Download:
    """The content of a file of a task of this caller.

    Raises:
        TaskNotFoundError: there is no such task of this caller, or no such file of it.
        Fault: TASK_NOT_FOUND, it is no longer here.
    """
    grants = (await node.call(FilesRequest(task_id=task_id, caller=caller))).files
    grant = next((grant for grant in grants if grant.file_id == file_id and grant.size is not None), None)
    if grant is None:
        raise TaskNotFoundError(f"{task_id}/{file_id}")
    if not grant.here:
        text = f"{grant.name} is no longer here: files of finished tasks are kept for a while only."
        raise Fault(Kind.TASK_NOT_FOUND, text)
    return Download(
        grant.name, grant.media_type or "application/octet-stream", grant.size or 0, _read(content_of(grant))
    )


async def _read(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while batch := await anyio.to_thread.run_sync(_some, chunks):
        yield batch


def _some(chunks: Iterator[bytes]) -> bytes:
    return b"".join(islice(chunks, CHUNKS_AT_ONCE))


class Presenter:
    """Makes parts of peers parts of A2A, for one caller. What names no file passes as it is."""

    def __init__(self, node: NodeApi, caller: str, url: FileUrl) -> None:
        self._node = node
        self._caller = caller
        self._url = url

    async def answer(self, answer: A2AAnswer) -> A2AAnswer:
        """An answer with its files."""
        task = await self.task(answer.task)
        reply = answer.reply and await self._message(answer.reply, task.id, MAX_INLINE)
        if task is answer.task and reply is answer.reply:
            return answer
        return answer.model_copy(update={"task": task, "reply": reply})

    def page(self, page: A2ATaskPage) -> A2ATaskPage:
        """A list has URLs only: it would be a hundred times as long otherwise."""
        if not any(map(is_blob, (part for task in page.tasks for part in _parts(task)))):
            return page
        return page.model_copy(update={"tasks": tuple(_Pass(self, task.id, {}).task(task) for task in page.tasks)})

    async def task(self, task: TaskDocument, room: int = MAX_INLINE) -> TaskDocument:
        """A task with its files, so many bytes of them inside."""
        if not any(map(is_blob, _parts(task))):
            return task
        return (await self._pass(task.id, room)).task(task)

    async def event(self, event: StreamResponse, task_id: str) -> StreamResponse:
        """An event of a task with its files."""
        if event.task is not None:
            return event.model_copy(update={"task": await self.task(event.task, MAX_INLINE_EVENT)})
        if event.message is not None:
            return event.model_copy(update={"message": await self._message(event.message, task_id, MAX_INLINE_EVENT)})
        if event.artifact_update is not None and any(map(is_blob, event.artifact_update.artifact.parts)):
            one = await self._pass(task_id, MAX_INLINE_EVENT)
            artifact = one.artifact(event.artifact_update.artifact)
            update = event.artifact_update.model_copy(update={"artifact": artifact})
            return event.model_copy(update={"artifact_update": update})
        return await self._status(event)

    async def _status(self, event: StreamResponse) -> StreamResponse:
        update = event.status_update
        if update is None or update.status.message is None:
            return event
        message = await self._message(update.status.message, update.task_id, MAX_INLINE_EVENT)
        status = update.status.model_copy(update={"message": message})
        return event.model_copy(update={"status_update": update.model_copy(update={"status": status})})

    async def _message(self, message: Message, task_id: str, room: int) -> Message:
        if not any(map(is_blob, message.parts)):
            return message
        return (await self._pass(task_id, room)).message(message)

    async def _pass(self, task_id: str, room: int) -> _Pass:
        """One answer being made: the small files of its task, read."""
        grants = (await self._node.call(FilesRequest(task_id=task_id, caller=self._caller))).files
        small: dict[str, FileGrant] = {}
        for grant in grants:
            if grant.here and grant.size is not None and grant.size <= room:
                room -= grant.size
                small[grant.file_id] = grant
        contents = await anyio.to_thread.run_sync(_contents, small)
        return _Pass(self, task_id, contents)

    def url(self, task_id: str, file_id: str) -> str:
        """The URL of a file."""
        return self._url(task_id, file_id)


@dataclass(frozen=True)
class _Pass:
    """The parts of one task, made into those of A2A."""

    presenter: Presenter
    task_id: str
    contents: dict[str, bytes]

    def part(self, part: Part) -> Part:
        if not is_blob(part) or part.url is None:
            return part
        file_id = part.url.removeprefix(SCHEME)
        content = self.contents.get(file_id)
        named: dict[str, object] = {"filename": part.filename, "media_type": part.media_type, "metadata": part.metadata}
        if content is not None:
            return Part.model_validate({"raw": base64.b64encode(content).decode(), **named})
        return Part.model_validate({"url": self.presenter.url(self.task_id, file_id), **named})

    def artifact(self, artifact: Artifact) -> Artifact:
        return artifact.model_copy(update={"parts": tuple(map(self.part, artifact.parts))})

    def message(self, message: Message) -> Message:
        return message.model_copy(update={"parts": tuple(map(self.part, message.parts))})

    def task(self, task: TaskDocument) -> TaskDocument:
        said = task.status.message
        return task.model_copy(
            update={
                "artifacts": tuple(map(self.artifact, task.artifacts)),
                "history": tuple(map(self.message, task.history)),
                "status": task.status.model_copy(update={"message": self.message(said)}) if said else task.status,
            }
        )


def _parts(task: TaskDocument) -> Iterator[Part]:
    for artifact in task.artifacts:
        yield from artifact.parts
    for message in task.history:
        yield from message.parts
    if task.status.message is not None:
        yield from task.status.message.parts


def _contents(grants: dict[str, FileGrant]) -> dict[str, bytes]:
    return dict(_readable(grants.items()))


def _readable(grants: Iterable[tuple[str, FileGrant]]) -> Iterator[tuple[str, bytes]]:
    for file_id, grant in grants:
        try:
            yield file_id, b"".join(content_of(grant))
        except FileError:
            continue  # it went in this very moment: its URL will say so

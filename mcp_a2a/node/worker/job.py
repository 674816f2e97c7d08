"""One leased task in the hands of a handler: its progress, chunks, questions and outcome on their way to the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.from_thread
import anyio.lowlevel

from mcp_a2a.api.files import FileArg
from mcp_a2a.api.inbox import AnswerRequest, InboxItem
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import DeliveryError
from mcp_a2a.errors.tasks import FileError, LeaseLostError, NotAwaitingReplyError, TaskNotFoundError, TransitionError
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Message, Part
from mcp_a2a.protocol.unicode import made_unicode

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

PROGRESS_SECONDS = 0.25
"""Progress travels at most so often; of what comes faster only the newest is sent."""

CHUNK_SECONDS = 0.05
"""Chunks travel at most so often; those that come faster travel together."""

MAX_BATCH_CHARS = 256 * 1024
MAX_BATCH = 500
"""Most characters and chunks that wait to travel together; more go at once."""

GONE = (LeaseLostError, TransitionError, NotAwaitingReplyError, TaskNotFoundError)
"""Errors of the node about a task that is no longer ours to work on."""

Status = Literal["working", "completed", "failed", "input_required", "auth_required", "rejected", "crashed"]


class Reject(Exception):  # noqa: N818  the skill's decision, not a fault
    """Raised by a skill to reject its task (TASK_STATE_REJECTED); the text is the reason for the sender."""


class Crashed(Exception):  # noqa: N818  as above
    """Raised by a skill whose work ended without a result and without a decision: the task is offered again."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a result that goes to the sender at once: `yield` it (A2A 4.2.2).

    Attributes:
        content: text, a part, or several parts.
        artifact: the id of the artifact that it belongs to.
        append: True to add it to the artifact, False to replace it; None adds to an artifact that was begun.
        last: True if the artifact is complete with it.
    """

    content: str | Part | tuple[Part, ...]
    artifact: str = "result"
    append: bool | None = None
    last: bool = False

    def __post_init__(self) -> None:
        content: object = self.content
        whole = content if isinstance(content, tuple) else (content,)
        other = [one for one in whole if not isinstance(one, Part)]
        if other and not isinstance(content, str):
            raise TypeError(f"A Chunk is text or parts, not {type(other[0]).__name__}: yield that by itself.")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as it travels."""
        match self.content:
            case str():
                return (Part(text=self.content),)
            case Part():
                return (self.content,)
            case _:
                return self.content


@dataclass(frozen=True)
class Outcome:
    """The end of a task here, with the text, parts and files for its sender."""

    status: Literal["completed", "failed", "rejected", "crashed"]
    text: str | None = None
    parts: tuple[Part, ...] = ()
    direct: bool = False
    """True for a message in place of a task (A2A 3.1.1)."""
    files: tuple[FileArg, ...] = ()
    """Attached files; each must exist until the answer is stored."""


def is_unsendable(error: Exception) -> bool:
    """True if the outcome can never be stored and sent, in contrast to a disk that is full now."""
    if isinstance(error, McpA2AError):
        return isinstance(error, DeliveryError | FileError) and not error.retryable
    return True


@dataclass(eq=False)
class Job:
    """The worker's side of a task that is being worked on."""

    item: InboxItem
    holder: str
    node: NodeApi
    pause: Callable[[Job], None]
    """Called when the handler begins to wait for a reply: it needs no slot while it does."""
    regain: Callable[[Job], None]
    """Called when it works on."""
    soon: Callable[[Job, float], None]
    """Called to have `flush` called in so many seconds."""
    started: float
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    renewed: float = 0.0
    told: str | None = None
    """Newest progress that was sent."""
    pending: str | None = None
    """Newer progress that was not sent yet."""
    told_at: float = float("-inf")
    begun: set[str] = field(default_factory=set)
    """Ids of the artifacts that were begun."""
    streamed: int = 0
    """Chunks that were sent."""
    chunks: list[ArtifactChunk] = field(default_factory=list)
    """Those that were not sent yet."""
    chunk_chars: int = 0
    flushing: bool = False
    """True if a flush is due soon."""
    announced: bool = False
    resumed: anyio.Event | None = None
    """Set when the reply that the handler waits for has come; None while it works."""
    replies_read: int = 0
    closed: bool = False
    has_spoken: bool = False
    """Whether anything was said about the task so far, or is being said."""

    @cached_property
    def turn(self) -> anyio.Lock:
        """Of what is said about it; most tasks end without a word before."""
        return anyio.Lock(fast_acquire=True)

    @cached_property
    def asking(self) -> anyio.Lock:
        """Of its questions."""
        return anyio.Lock(fast_acquire=True)

    @property
    def has_told(self) -> bool:
        """True if its sender has heard that it is worked on."""
        return self.told_at > float("-inf")

    async def report(self, text: str) -> None:
        """Tell the sender how it goes, now or, when told a moment ago, a little later."""
        self.pending = str(text)  # the author of a skill may hand over anything
        if anyio.current_time() - self.told_at >= PROGRESS_SECONDS:
            await self.flush()

    async def stream(self, chunk: Chunk) -> None:
        """Send a piece of a result, now or, when one was sent a moment ago, together with what follows."""
        append = chunk.artifact in self.begun if chunk.append is None else chunk.append
        self.begun.add(chunk.artifact)
        artifact = Artifact(artifact_id=chunk.artifact, name=chunk.artifact, parts=chunk.parts)
        self.chunks.append(ArtifactChunk(artifact=artifact, append=append, last_chunk=chunk.last))
        self.chunk_chars += _chars(self.chunks[-1])
        due = self.told_at + CHUNK_SECONDS - anyio.current_time()
        if due <= 0 or self.chunk_chars >= MAX_BATCH_CHARS or len(self.chunks) >= MAX_BATCH:
            await self.flush()
        elif not self.flushing:
            self.flushing = True
            self.soon(self, due)

    async def close(self) -> None:
        """Let nothing more be said about it but its end, once what is being said is said."""
        if self.has_spoken:
            await self.turn.acquire()
            self.turn.release()
        self.closed = True

    async def flush(self) -> None:
        """Send what was not sent yet; renews the lease."""
        self.flushing, self.has_spoken = False, True
        async with self.turn:
            if self.closed or self.resumed is not None:
                return
            now = anyio.current_time()
            self.told, self.pending = self.pending or self.told, None
            self.told_at = self.renewed = now
            try:
                await self.answer("working", self.told)
            except GONE:
                self.scope.cancel("the task is no longer ours")

    async def ask(self, question: str, status: Literal["input_required", "auth_required"] = "input_required") -> str:
        """Put a question to the sender and wait for the reply, without a slot or a lease; one question at a time."""
        async with self.asking:  # a skill may ask several at once, and a reply does not say which one it answers
            return await self._ask(question, status)

    async def _ask(self, question: str, status: Literal["input_required", "auth_required"]) -> str:
        replies = self._unread()
        if replies:
            # An earlier run of this task asked already; the reply was kept with the task.
            self.replies_read += 1
            return replies[0].text
        self.resumed, self.has_spoken = anyio.Event(), True
        resumed = self.resumed
        self.pause(self)
        try:
            async with self.turn:
                self.pending = self.told = None
                await self.answer(status, str(question))  # as above
            await resumed.wait()
        except BaseException:  # also of a skill that has waited long enough
            self._work_on()
            self.renewed = float("-inf")  # its lease ended with the question: the next flush takes one
            raise
        replies = self._unread()
        self.replies_read += len(replies)
        return "\n".join(message.text for message in replies)

    def resume(self, item: InboxItem) -> None:
        """The task was offered again with a reply in it."""
        self.item = item
        self.renewed = anyio.current_time()
        self._work_on()

    def _work_on(self) -> None:
        if self.resumed is not None:
            resumed, self.resumed = self.resumed, None
            self.regain(self)
            resumed.set()

    async def answer(
        self,
        status: Status,
        text: str | None,
        parts: tuple[Part, ...] = (),
        files: tuple[FileArg, ...] = (),
        *,
        direct: bool = False,
    ) -> None:
        """Say something about the task to its sender, with the chunks that were not sent yet."""
        chunks = tuple(self.chunks)
        request = AnswerRequest(
            task_id=self.item.task_id,
            status=status,
            text=made_unicode(text),
            parts=made_unicode(parts) if parts else (),
            files=made_unicode(files) if files else (),
            chunks=made_unicode(chunks) if chunks else (),
            streamed=self.streamed if chunks else None,
            direct=direct,
            holder=self.holder,
            attempt=self.item.attempt,
            consent="waived",  # the owner started this worker, so that it answers
        )
        try:
            await self.node.call(request)
        except Exception as error:
            if is_unsendable(error):
                self._forget_chunks(len(chunks))  # they would keep every later answer from being sent
            raise
        self._forget_chunks(len(chunks))
        self.streamed += len(chunks)

    def _forget_chunks(self, count: int) -> None:
        del self.chunks[:count]
        self.chunk_chars = sum(map(_chars, self.chunks))

    def _unread(self) -> tuple[Message, ...]:
        return self.item.messages[1 + self.replies_read :]


def _chars(chunk: ArtifactChunk) -> int:
    return sum(len(part.text or part.raw or "") for part in chunk.artifact.parts)

"""One leased task in the hands of a handler: what the handler sees of it, and what comes out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

import anyio
import anyio.from_thread
import anyio.lowlevel

from mcp_a2a.api.files import FileArg
from mcp_a2a.api.inbox import AnswerRequest, InboxItem
from mcp_a2a.api.view import AgentRef
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import DeliveryError
from mcp_a2a.errors.tasks import FileError, LeaseLostError, NotAwaitingReplyError, TaskNotFoundError, TransitionError
from mcp_a2a.node.files.received import ReceivedFile
from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Message, Part, text_of
from mcp_a2a.protocol.unicode import made_unicode

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

PROGRESS_SECONDS = 0.25
"""Progress travels at most so often; of what comes faster only the newest is sent."""

CHUNK_SECONDS = 0.05
"""Chunks travel at most so often; those that come faster travel together."""

MAX_BATCH_CHARS = 256 * 1024
MAX_BATCH = 500
"""What waits to travel together: more of it goes at once."""

GONE = (LeaseLostError, TransitionError, NotAwaitingReplyError, TaskNotFoundError)
"""What the node says about a task that is no longer ours to work on."""

Status = Literal["working", "completed", "failed", "input_required", "auth_required", "rejected", "crashed"]


class Reject(Exception):  # noqa: N818  the skill's decision, not a fault
    """Raised by a skill that will not do the task; the text tells its sender why."""


class Crashed(Exception):  # noqa: N818  as above
    """Raised by a skill whose work ended without a result and without a decision: the task is offered again."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a result that goes to the sender at once: `yield` it.

    `append` None means behind what this artifact has. `last` says that the artifact is complete with it.
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
    """How a task ended here, and what its sender reads."""

    status: Literal["completed", "failed", "rejected", "crashed"]
    text: str | None = None
    parts: tuple[Part, ...] = ()
    direct: bool = False
    """It is a message to the sender, and no task is meant by it (A2A 3.1.1)."""
    files: tuple[FileArg, ...] = ()
    """What is attached; each must be there until the answer is stored."""


def is_unsendable(error: Exception) -> bool:
    """True if what was handed over can never be stored and sent, in contrast to a disk that is full now."""
    if isinstance(error, McpA2AError):
        return isinstance(error, DeliveryError | FileError) and not error.retryable
    return True


class Handler(Protocol):
    """Does the work of one task. What it raises fails the task with that message."""

    def __call__(self, task: TaskContext) -> Awaitable[Outcome]:
        """Work on the task; cancelled when its sender withdraws it."""
        ...


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


class TaskContext:
    """The task a skill works on. Annotate a parameter with it to receive it.

    What the sender wrote in it is data from another party: check it before you act on it.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._token = anyio.lowlevel.current_token()

    @property
    def task_id(self) -> str:
        """Id of the task, the same on the sender's side."""
        return self._job.item.task_id

    @property
    def sender(self) -> AgentRef:
        """Who sent it: its `did` is proven, its `name` is only what it calls itself."""
        return self._job.item.agent

    @property
    def trust(self) -> str:
        """Who the sender is to us: "own", "trusted", "member" or "stranger"."""
        return self._job.item.trust

    @property
    def skill(self) -> str | None:
        """The skill that was asked for, if one was."""
        return self._job.item.skill

    @property
    def attempt(self) -> int:
        """1, or more when an earlier attempt was not answered: some of its work may be done."""
        return self._job.item.attempt

    @property
    def context_id(self) -> str | None:
        """The conversation this task belongs to."""
        return self._job.item.context_id

    @property
    def hop(self) -> int:
        """How often the work was passed on until it came here. What passes it on says so: `SendTaskRequest(hop=…)`."""
        return self._job.item.hop

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that the sender wrote in this task: the request first, then replies."""
        return self._job.item.messages

    @property
    def text(self) -> str:
        """The text of the request, as it was sent."""
        return text_of(self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the request: text, data, files."""
        messages = self._job.item.messages
        return messages[0].parts if messages else (Part(text=self._job.item.text),)

    @property
    def files(self) -> tuple[ReceivedFile, ...]:
        """The files that came with it, in order: whole, checked, and not written anywhere yet."""
        return tuple(ReceivedFile(file) for file in self._job.item.files if file.size is not None)

    @property
    def has_streamed(self) -> bool:
        """True if any piece of a result was sent."""
        return bool(self._job.begun)

    async def progress(self, text: str) -> None:
        """Tell the sender how it goes; of what comes often, only the newest text travels."""
        await self._job.report(text)

    async def stream(self, content: str | Part, *, artifact: str = "result", last: bool = False) -> None:
        """Send a piece of a result at once; it goes behind what this artifact has already.

        A text or value that the skill returns in the end replaces the artifact "result"; files and parts without a text
        follow what was streamed there.
        """
        await self.send_chunk(Chunk(content, artifact, last=last))

    async def send_chunk(self, chunk: Chunk) -> None:
        """The same for a `Chunk`."""
        await self._job.stream(chunk)

    async def ask_authorization(self, question: str) -> str:
        """`ask`, where the sender must authorize something (AUTH_REQUIRED). That it replies is no consent in itself."""
        return await self._job.ask(question, "auth_required")

    async def ask(self, question: str) -> str:
        """Ask the sender something and wait for the reply (the task is INPUT_REQUIRED meanwhile).

        If this process is restarted while it waits, the skill runs again from its start, and each
        `ask` that was already replied to returns that reply at once.
        """
        return await self._job.ask(question)

    def progress_sync(self, text: str) -> None:
        """`progress` for a skill that is an ordinary function."""
        anyio.from_thread.run(self.progress, text, token=self._token)

    def send_chunk_sync(self, chunk: Chunk) -> None:
        """`send_chunk` for a skill that is an ordinary function."""
        anyio.from_thread.run(self.send_chunk, chunk, token=self._token)

    def ask_sync(self, question: str) -> str:
        """`ask` for a skill that is an ordinary function."""
        return anyio.from_thread.run(self.ask, question, token=self._token)

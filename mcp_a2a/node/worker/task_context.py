"""The task as its skill sees it, and the handler that works on it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import anyio.from_thread
import anyio.lowlevel

from mcp_a2a.api.view import AgentRef
from mcp_a2a.node.files.received import ReceivedFile
from mcp_a2a.node.worker.job import Chunk, Job, Outcome
from mcp_a2a.protocol.model import Message, Part, text_of


class TaskContext:
    """The task that a skill works on. Annotate a parameter with it to receive it.

    The sender's words in it are data from another party: check them before you act on them.
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
        """The sender: its `did` is proven, its `name` is its own choice."""
        return self._job.item.agent

    @property
    def trust(self) -> str:
        """The relation of the sender to us: "own", "trusted", "member" or "stranger"."""
        return self._job.item.trust

    @property
    def skill(self) -> str | None:
        """The id of the requested skill; None if the request names none."""
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
        """Number of agents that passed the work on. A program that passes it on tells it: `SendTaskRequest(hop=…)`."""
        return self._job.item.hop

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages of the sender in this task: the request first, then replies."""
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
        """Send a progress text to the sender; of several within `PROGRESS_SECONDS` only the newest travels."""
        await self._job.report(text)

    async def stream(self, content: str | Part, *, artifact: str = "result", last: bool = False) -> None:
        """Send a piece of a result at once, as an addition to its artifact (A2A 4.2.2).

        A text or value that the skill returns in the end replaces the artifact "result"; files and parts without a text
        are added to it.

        Args:
            content: text or a part.
            artifact: the id of the artifact.
            last: True if the artifact is complete with it.
        """
        await self.send_chunk(Chunk(content, artifact, last=last))

    async def send_chunk(self, chunk: Chunk) -> None:
        """Send a `Chunk`, as `stream` does."""
        await self._job.stream(chunk)

    async def ask_authorization(self, question: str) -> str:
        """`ask` for an authorization (TASK_STATE_AUTH_REQUIRED). A reply is no consent in itself."""
        return await self._job.ask(question, "auth_required")

    async def ask(self, question: str) -> str:
        """Ask the sender a question and wait for the reply (TASK_STATE_INPUT_REQUIRED meanwhile).

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


class Handler(Protocol):
    """Does the work of one task. An exception fails the task with its message."""

    def __call__(self, task: TaskContext) -> Awaitable[Outcome]:
        """Work on the task; cancelled when its sender withdraws it."""

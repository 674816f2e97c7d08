"""The inbox: lease received tasks and answer them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from mcp_a2a.api.files import Attachments, FileGrant
from mcp_a2a.api.request import Request
from mcp_a2a.api.tasks import TaskView
from mcp_a2a.api.view import AgentRef, Trust, View
from mcp_a2a.protocol.model import ArtifactChunk, Message, Part
from mcp_a2a.protocol.untrusted import WHOLE, Fact, PeerText, Token

CLIENT = "client"
"""The holder of the tasks that clients of this identity take from the inbox."""


class InboxItem(View):
    """One leased task: answer it before the lease ends, or it is offered again."""

    task_id: Fact
    agent: AgentRef
    trust: Trust
    skill: PeerText | None
    context_id: Token | None
    text: PeerText
    """The request and any further messages, cleaned."""
    messages: Annotated[tuple[Message, ...], WHOLE]
    """The messages as they came, for a worker; never for a model."""
    files: tuple[FileGrant, ...] = ()
    """Those of its parts that are files; likewise."""
    attempt: int
    hop: int
    lease_until: Fact
    received: Fact


class InboxView(View):
    """Leased work, and how many messages of strangers wait for a person's decision."""

    items: tuple[InboxItem, ...]
    canceled: tuple[Fact, ...] = ()
    """Tasks leased to this holder that their sender no longer wants: stop working on them."""
    waiting: int
    """Further tasks that were not leased by this call."""
    held: int
    next: Fact


class CheckInboxRequest(Request[InboxView], operation="check_inbox"):
    """Lease waiting work, for 15 min; `working` renews the lease.

    `holder` names who will answer; the leases of a "worker" end with its process. With `limit` 0 nothing is leased: the
    call waits for cancellations of what the holder has.
    """

    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    limit: int = Field(default=5, ge=0, le=100)
    holder: str = CLIENT
    worker: bool = False


class AnswerRequest(Attachments, Request[TaskView], operation="answer_task"):
    """Report progress, a result, a failure or a question for a leased task; `working` also renews the lease.

    `crashed` is no answer: this attempt came to nothing, and the task is offered again.

    Raises:
        LeaseLostError: the task was offered to another holder since.
    """

    @property
    @override
    def waits(self) -> bool:
        return bool(self.files or self.parts or self.chunks)  # what is attached is read first

    task_id: str
    status: Literal["working", "completed", "failed", "input_required", "auth_required", "rejected", "crashed"]
    text: str | None = None
    parts: tuple[Part, ...] = ()
    chunks: tuple[ArtifactChunk, ...] = ()
    """The chunks of artifacts since the last answer; they travel at once, in order."""
    streamed: int | None = None
    """Number of chunks of this attempt that were answered before these: a repeated one counts once."""
    direct: bool = False
    """The text and parts are a message, and no task is meant by it (A2A 3.1.1)."""
    holder: str = CLIENT
    attempt: int | None = None
    """The attempt being answered, where the holder knows it: an answer to an older attempt is refused."""

"""Tasks: send, read, reply, cancel, list, forget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mcp_a2a.api.files import Attachments, FileView, TransferView
from mcp_a2a.api.request import Request
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.protocol.model import Delivery, Part
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.untrusted import WHOLE, Asked, Fact, PeerText, Token

MAX_HOP = 4
"""As in `protocol.payload`, which a client of the node need not import."""


class PassedOn(Attachments):
    """Work for others, which may be part of a task that is worked on here: a chain of agents must end."""

    hop: int = Field(default=0, ge=0, le=MAX_HOP)
    """Number of agents that passed the work on before: the `hop` of the inbox item that it is sent for."""
    holder: str | None = None
    """The sender, if it may be for any of the tasks that this holder has leased: then the highest `hop` counts."""


class ArtifactView(View):
    """A result: the parts as they came, text cleaned."""

    artifact_id: PeerText
    name: PeerText | None = None
    parts: Annotated[tuple[Part, ...], WHOLE] = ()


class TaskView(View):
    """The state of a task and of its delivery, with its newest text.

    `text` is by the other side: the result of a task that was sent, the request of one that was received.
    """

    task_id: Fact
    direction: Literal["sent", "received"]
    state: Moment
    done: bool
    delivery: Delivery
    route: Fact | None = None
    agent: AgentRef
    skill: PeerText | None = None
    context_id: Token | None = None
    request: Asked = ""
    """The request in one line: the beginning of the text, else the names of the files, else the data."""
    answer: PeerText | None = None
    """The answer so far in one line: the beginning of the result, of the question or of the reason."""
    reply: Asked | None = None
    """The sender's last message, if it is not the request; in one line."""
    asked_here: bool = False
    """True if `request` and `reply` were written by the owner of this node."""
    text: PeerText | None = None
    text_total: int | None = None
    """Length of the whole text in characters."""
    text_next: int | None = None
    """`text_offset` of the next page; None at the end."""
    artifacts: Annotated[tuple[ArtifactView, ...], WHOLE] = ()
    files: tuple[FileView, ...] = ()
    """The files of the other side."""
    transfer: TransferView | None = None
    question: PeerText | None = None
    progress: PeerText | None = None
    error: ErrorDetail | None = None
    attempts: int = 0
    tried: Annotated[tuple[str, ...], WHOLE] = ()
    """Routes tried and failed so far, each with its reason."""
    put_off: PeerText | None = None
    """Why it is not taken now; it is kept here, and tried again."""
    chosen: PeerText | None = None
    """For a task sent by skill: which agent took it and why."""
    created: Fact
    updated: Fact
    next: Fact
    """The next step for the reader, in one sentence."""

    @property
    def is_held_up(self) -> bool:
        """True if its sender should be told now why nothing happens for a while."""
        return self.delivery == Delivery.HELD or self.put_off is not None


class SendRequest(PassedOn):
    """A message to send as a task, with its files and its options."""

    message: str
    parts: tuple[Part, ...] = ()
    """Further parts (data) that travel behind the text."""
    wait_seconds: float = Field(default=20, ge=0, le=86_400)
    context_id: str | None = Field(default=None, max_length=256)
    idempotency_key: str | None = Field(default=None, max_length=256)
    queue: bool = True
    """False: fail at once with every attempt when the agent cannot be reached, and keep nothing."""


class SendTaskRequest(SendRequest, Request[TaskView], operation="send_task"):
    """Journal work for one agent, deliver it, and wait for its answer up to `wait_seconds`.

    Raises:
        ConsentNeededError, ConsentDeclinedError: a person has to allow it first, or has not; nothing was sent.
    """

    agent: str
    skill: str | None = Field(default=None, min_length=1, max_length=128)


class SendTaskBySkillRequest(SendRequest, Request[TaskView], operation="send_task_by_skill"):
    """Work for the best agent with the skill; the next one is tried while none has accepted."""

    skill: str = Field(min_length=1, max_length=128)


Until = Literal["taken", "held_up", "rest", "end"]
"""The point in the life of a task up to which a caller waits; see `GetTaskRequest`."""


class GetTaskRequest(Request[TaskView], operation="get_task"):
    """The state of a task, by its id or a unique prefix of that.

    Waits up to `wait_seconds` until it has come so far:

        taken    its agent's node, or a relay, has the message
        held_up  "rest", or a person must decide first, or the message is not taken for a while
        rest     it has ended, or its agent asks something
        end      it has ended

    `text_offset` pages through a long text, in characters.
    """

    task_id: str
    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    until: Until = "rest"
    text_offset: int = Field(default=0, ge=0)
    text_limit: int | None = Field(default=None, ge=1)


class ReplyRequest(PassedOn, Request[TaskView], operation="reply_to_task"):
    """A further message in a task that we sent: answers INPUT_REQUIRED, or continues its context."""

    task_id: str
    message: str
    wait_seconds: float = Field(default=20, ge=0, le=86_400)
    idempotency_key: str | None = Field(default=None, max_length=256)


class CancelRequest(Request[TaskView], operation="cancel_task"):
    """A task that we sent and no longer want."""

    task_id: str


class KeptTask(View):
    """A task that could not be forgotten, and why."""

    task_id: Token
    reason: Fact


class ForgetView(View):
    """The forgotten tasks. With `after` there are more."""

    tasks: tuple[Token, ...]
    kept: tuple[KeptTask, ...] = ()
    files: int
    freed_bytes: int
    """On the disk, and in the database, which uses the space again."""
    after: Token | None = None


class ForgetRequest(Request[ForgetView], operation="forget"):
    """Finished tasks to be forgotten: those named, or some of those that ended so long ago (`after` goes on).

    `count_only` says what would go. Only ever asked for a person.
    """

    task_ids: tuple[str, ...] = ()
    older_than_seconds: float | None = Field(default=None, ge=0)
    after: str | None = None
    count_only: bool = False


class TaskPage(View):
    """A page of tasks."""

    tasks: tuple[TaskView, ...]
    next_cursor: Fact | None = None
    damage: tuple[Fact, ...] = ()
    """Damage of the database, as in `StatusView`: tasks may be missing here."""


class ListTasksRequest(Request[TaskPage], operation="list_tasks"):
    """Tasks, newest change first; `cursor` continues a list."""

    state: Moment | None = None
    direction: Literal["sent", "received"] | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None

"""The requests of an A2A client to a node: the operations of A2A 3.1, for every binding.

The nouns are those of A2A, raw as they travel. Every operation is within the reach of one caller at one agent: `agent`
names the agent whose tasks are meant ("self", or an agent behind this node by did or URL), `caller` the client. A task
outside of that reach does not exist (A2A 13.1).
"""

from __future__ import annotations

from pydantic import Field, JsonValue

from mcp_a2a.api.request import Request
from mcp_a2a.api.tasks import MAX_HOP
from mcp_a2a.api.view import Consent, View
from mcp_a2a.protocol.model import Message, StreamResponse, TaskDocument, TaskPushNotificationConfig, TaskState

OWN_KEY = "call-"
"""Prefix of an idempotency key that a server or client made for one call."""

HOP = "mcp-a2a/hop"
"""Name in the metadata of a message: how often its work was passed on before. A2A has no word for it."""

OWNER = ""
"""The caller who owns this node."""

OWN_AGENT = "self"
"""The agent that this node is, beside those behind it."""


class Reach(View):
    """An agent, and the client that asks. The A2A server has authenticated `caller`; "" is the owner of this node."""

    agent: str = OWN_AGENT
    caller: str = Field(default=OWNER, max_length=64)


class A2AAnswer(View):
    """A task as it is now, or the message that the agent answered with instead."""

    task: TaskDocument
    reply: Message | None = None
    """The agent meant no task by it: A2A shows the message only."""
    cursor: str | None = None
    """The cursor from which to follow the task, if that was asked for; `task` is then the task at that point."""


class A2ASendRequest(Reach, Request[A2AAnswer], operation="a2a_send"):
    """A message to an agent: it opens a task, or with `task_id` in it goes on in one. Durable before the answer.

    Raises:
        TaskNotFoundError: it names a task that is not the caller's at that agent.
        NotAwaitingReplyError: that task has ended.
        ContextMismatchError: its context is not that of its task.
        ConversationFullError: there is no room in that task for what it says.
        PeerNotFoundError, AmbiguousNameError, TooLargeError, UnsendableError
    """

    message: Message
    skill: str | None = Field(default=None, min_length=1, max_length=128)
    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    """Longest wait for a terminal or interrupted state, in seconds."""
    idempotency_key: str | None = Field(default=None, max_length=256)
    """Calling again with it is the same task. A message id is not enough: clients use one for several messages."""
    again: bool = False
    """True if the same call was made before, of a node that went away."""
    push_config: TaskPushNotificationConfig | None = None
    consent: Consent = "ask"
    hop: int = Field(default=0, ge=0, le=MAX_HOP)
    """Number of agents that passed the work on before, by the message's own count (`HOP`)."""
    follow: bool = False
    """Give a cursor from which `a2a_follow` tells all that happens to the task, from its very beginning."""


class A2AGetRequest(Reach, Request[A2AAnswer], operation="a2a_get"):
    """A task of the caller by its whole id.

    Raises:
        TaskNotFoundError
    """

    task_id: str = Field(max_length=256)
    wait_seconds: float = Field(default=0, ge=0, le=86_400)


class A2ACancelRequest(Reach, Request[A2AAnswer], operation="a2a_cancel"):
    """Withdraw a task of the caller.

    Raises:
        TaskNotFoundError
        TransitionError: it has ended.
    """

    task_id: str = Field(max_length=256)
    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    """Longest wait for the agent to say that it has stopped, in seconds."""


class A2ATaskPage(View):
    """A page of tasks, whole; which of their fields are shown is the binding's to decide."""

    tasks: tuple[TaskDocument, ...]
    next_page_token: str = ""
    total_size: int


class A2AListRequest(Reach, Request[A2ATaskPage], operation="a2a_list"):
    """Tasks of the caller at that agent, newest status first. `page_token` continues a list.

    Raises:
        ConfigurationError: the page token is not one of ours.
    """

    context_id: str | None = None
    status: TaskState | None = None
    page_size: int = Field(default=50, ge=1, le=100)
    page_token: str = ""
    status_timestamp_after: float | None = None
    """Seconds since the epoch."""


class A2AFollowView(View):
    """The next events of a task, the same and in the same order for all followers.

    `task` is there in the first answer, and when the thread was lost (the node restarted): events go on from it.
    """

    task: TaskDocument | None = None
    reply: Message | None = None
    """The reply of the agent, as in `A2AAnswer`."""
    events: tuple[StreamResponse, ...] = ()
    cursor: str
    over: bool
    """The task is in a terminal state (or, without `to_end`, an interrupted one), and all up to there was told."""


class A2AFollowRequest(Reach, Request[A2AFollowView], operation="a2a_follow"):
    """The events of a task of the caller: the task as it is without a cursor, later events with one.

    Raises:
        TaskNotFoundError
    """

    task_id: str = Field(max_length=256)
    cursor: str | None = Field(default=None, max_length=128)
    wait_seconds: float = Field(default=0, ge=0, le=86_400)
    to_end: bool = False
    """Follow it through all that it waits for, to a terminal state."""


class A2APushView(View):
    """The configurations that were asked for."""

    configs: tuple[TaskPushNotificationConfig, ...] = ()


class A2APushRequest(Reach):
    """A push configuration of a task of the caller; `config_id` is not needed to set or list."""

    task_id: str = Field(max_length=256)
    config_id: str | None = Field(default=None, max_length=128)
    config: TaskPushNotificationConfig | None = None
    """The one to set."""


class A2APushSetRequest(A2APushRequest, Request[A2APushView], operation="a2a_push_set"):
    """A configuration to keep.

    Raises:
        TaskNotFoundError, PushUrlError
    """


class A2APushGetRequest(A2APushRequest, Request[A2APushView], operation="a2a_push_get"):
    """The configuration with that id, or all of the task.

    Raises:
        TaskNotFoundError: no such task, or no such configuration of it.
    """


class A2APushDeleteRequest(A2APushRequest, Request[A2APushView], operation="a2a_push_delete"):
    """A configuration to forget; one that is not there counts as forgotten.

    Raises:
        TaskNotFoundError
    """


class A2ACardView(View):
    """The signed card."""

    card: dict[str, JsonValue]


class A2ACardRequest(Request[A2ACardView], operation="a2a_card"):
    """Sign the card of our own agent as an A2A server of ours shows it.

    It may say where and how it is served, and nothing else than ours does.

    Raises:
        CardError: it is not the card of this agent.
    """

    card: dict[str, JsonValue]

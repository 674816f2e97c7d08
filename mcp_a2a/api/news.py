"""Events of a node, without the content of any message."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mcp_a2a.api.request import Request
from mcp_a2a.api.view import AgentRef, View
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.untrusted import Fact, Name, PeerText

EventKind = Literal[
    "task_received",
    "question_asked",
    "task_answered",
    "question_received",
    "answer_received",
    "contact_request",
    "agent_trusted",
    "agent_blocked",
    "message_refused",
    "member_joined",
    "client_connected",
    "client_gone",
    "request_refused",
]
"""The kinds of events. The last three happen at an HTTP server, and no node reports them."""


class EventView(View):
    """Something that happened, without the content of any message."""

    kind: EventKind
    at: Fact
    agent: AgentRef | None = None
    task_id: Fact | None = None
    skill: PeerText | None = None
    state: Moment | None = None
    """For a task: where it stood then."""
    network: Name | None = None
    client: PeerText | None = None
    """A client of an HTTP server, as it calls itself; or the address of one that was refused."""
    detail: Fact | None = None


class NewsView(View):
    """Events, oldest first, and the number to go on from. A node that was started anew is another run."""

    run: Fact
    number: int
    events: tuple[EventView, ...] = ()
    missed: int = 0
    """Events that are no longer kept."""


class NewsRequest(Request[NewsView], operation="news"):
    """Events after number `after` of the run `run`, waiting for some; without these, only the number of the last one.

    Only ever asked for the owner of the node.
    """

    after: int | None = None
    run: str | None = None
    received: bool = True
    """False: without the tasks that others have sent here, as for a worker, which tells of those by itself."""
    wait_seconds: float = Field(default=0, ge=0, le=3_600)

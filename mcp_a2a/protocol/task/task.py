"""The value of a task: what is known of it at one time. Only `machine` makes one task from another."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from mcp_a2a.protocol.blob import by_content
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Artifact, Delivery, Message, Role, TaskState, TaskStatus
from mcp_a2a.protocol.naming import Counterpart, counterpart_of
from mcp_a2a.protocol.state import TERMINAL
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.times import parse_iso_untrusted

# Why a task did not succeed, as the record of a task keeps it and every view shows it.


# The id of a task, which both sides derive from the message that opens it.


def task_id_of(sender: PeerId, message_id: str) -> str:
    """The id of the task that `sender` opens with this message.

    Derived, so that the sender has a handle before a recipient is reached, and a message that arrives twice lands on
    the same task. 120 bits: no two tasks of one sender share an id, and a second message for an id cannot be found.
    """
    return _derived(sender.key, message_id)


# Asked for several times while a task is made, and base 32 is written in Python.
@lru_cache(maxsize=1024)
def _derived(key: bytes, message_id: str) -> str:
    digest = hashlib.sha256(b"mcp-a2a/v1/task\0" + key + message_id.encode()).digest()
    return "task-" + base64.b32encode(digest[:15]).decode().lower()


_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Task:
    """A task, as one side of it knows it. Times are seconds since the epoch, by the wall clock of this machine."""

    # Said once, when it is opened (`Entrusted` says some of it anew).
    id: str
    direction: str
    """"sent" or "received": whether this side asked for it."""
    peer: str
    """The other side: a did:key, the URL of an agent, or "caller:NAME" of an A2A client."""
    peer_name: str
    skill: str | None
    context_id: str
    hop: int
    # The law.
    state: TaskState
    delivery: Delivery
    seq_out: int
    """Number of the newest letter about it to the other side."""
    seq_in: int
    """Number of the newest letter of the other side that was applied; -1: none."""
    attempts: int
    """The number of leases since its caller's last message, here or at its agent."""
    holder: str | None
    worker: bool
    """The lease ends with the process of its holder."""
    lease_until: float | None
    messages: tuple[Message, ...]
    """The conversation: the request first, and the questions that were answered."""
    status: TaskStatus
    artifacts: tuple[Artifact, ...]
    error: ErrorDetail | None
    tried: tuple[str, ...]
    """Agents, or ways to one, that were tried first, each with the reason why not."""
    chosen: str | None
    """Why this agent, of a task sent by skill."""
    created: float
    updated: float
    caller: str = ""
    """The A2A client that it belongs to; empty: the owner of this node."""
    opening: str = ""
    """Id of the payload that opened it, where it is not that of the first message."""
    streamed: int = 0
    """Chunks of this attempt that its artifacts are made of."""
    direct: bool = False
    """The message in its status is the answer, and no task is meant by it (A2A 3.1.1)."""
    remote: str | None = None
    """Its id at an agent at a URL."""
    opened: float = 0.0
    dated: float = 0.0
    """The date of the message that opened it here, and the latest that any copy of it may have."""
    forgotten: float | None = None
    """Time at which a person had its texts and files removed, in seconds since the epoch."""
    heard: str | None = None
    """Of a task at a URL: state and time of the newest status that its agent told, in the agent's words."""
    made: int = 0
    """Of a task at a URL: characters of its artifacts when its caller last said something."""
    events: int = 0
    """The number of its logged events, which is that of the newest."""
    size: int = field(default=0, compare=False, metadata={"kept": False})
    """Characters of its artifacts as they are stored, or more. Derived, and not stored."""

    @property
    def opening_id(self) -> str:
        """Id of the payload that opened it; the id of the task is derived from that."""
        return self.opening or self.messages[0].message_id

    @property
    def said(self) -> tuple[Message, ...]:
        """The messages of its caller, in order: the request first."""
        return tuple(message for message in self.messages if message.role == Role.USER)

    def has_heard(self, message: Message) -> bool:
        """True if its caller said this before. Its id alone does not tell: some clients use one id for several."""
        parts = tuple(map(by_content, message.parts))
        return any(
            known.message_id == message.message_id and tuple(map(by_content, known.parts)) == parts
            for known in self.said
        )

    @property
    def sent(self) -> bool:
        """True if this side asked for it."""
        return self.direction == "sent"

    @property
    def counterpart(self) -> Counterpart:
        """The kind of the other side: reached by sealed messages, at its URL, or not at all, as it asks by itself."""
        return counterpart_of(self.peer)

    @property
    def since(self) -> datetime:
        """Since when it has its status. Where its agent told no time that can be read: since its newest change."""
        return parse_iso_untrusted(self.status.timestamp) or datetime.fromtimestamp(self.updated, UTC)

    @property
    def status_at(self) -> int:
        """The same in whole milliseconds since the epoch, which is what A2A shows of it."""
        return (self.since - _EPOCH) // timedelta(milliseconds=1)

    @property
    def done(self) -> bool:
        """True if it has ended."""
        return self.state in TERMINAL

    @property
    def is_declined(self) -> bool:
        """True if its agent declined it and no other one has it yet: a choice by skill goes on, or was broken off."""
        return self.state == TaskState.SUBMITTED and self.delivery == Delivery.REFUSED

    def leased(self, now: float) -> bool:
        """True if a holder works on it."""
        return self.lease_until is not None and now < self.lease_until


if TYPE_CHECKING:
    with_ = dataclasses.replace  # mypy checks the names and types of the changes
else:

    def with_(task: Task, **changes: object) -> Task:
        """The task with these fields changed.

        `dataclasses.replace` sets 38 fields one by one through `__init__`: 25 us where this takes 2.
        """
        changed = object.__new__(Task)
        vars(changed).update(vars(task), **changes)
        return changed

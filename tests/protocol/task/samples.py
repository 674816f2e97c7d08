"""Tasks and events for the tests of the task machine."""

from __future__ import annotations

from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Delivery, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.error import ErrorDetail
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import opened
from mcp_a2a.protocol.task.table import SIDES
from mcp_a2a.protocol.task.task import Task, with_
from mcp_a2a.protocol.times import iso

T0, T1 = 1_800_000_000.0, 1_800_000_060.0
ERROR = ErrorDetail(code="refused", message="It does not take messages from you.")


def message(text: str, role: Role = Role.USER, message_id: str = "") -> Message:
    return Message(message_id=message_id or f"m-{text}", role=role, parts=(Part(text=text),))


def said(state: TaskState, text: str | None = None, at: float = T1) -> TaskStatus:
    words = None if text is None else message(text, Role.AGENT)
    return TaskStatus(state=state, message=words, timestamp=iso(at))


def artifact(text: str, artifact_id: str = "result") -> Artifact:
    return Artifact(artifact_id=artifact_id, parts=(Part(text=text),))


def chunk(text: str, artifact_id: str = "result") -> ArtifactChunk:
    return ArtifactChunk(artifact=artifact(text, artifact_id), append=True)


def opening(direction: str, **changes: object) -> e.Opened:
    values: dict[str, object] = {
        "id": "task-1", "direction": direction, "peer": "did:key:z6MkBob", "peer_name": "bob", "context_id": "ctx-1",
        "message": message("hi"), "opening": "m-hi",
        "delivery": Delivery.QUEUED if direction == "sent" else Delivery.DELIVERED,
        "seq_in": -1 if direction == "sent" else 0,
    }  # fmt: skip
    return e.Opened(**{**values, **changes})


def a_task(state: TaskState = TaskState.SUBMITTED, direction: str = "sent", **changes: object) -> Task:
    task = opened(opening(direction), T0)
    return with_(task, **{"state": state, "status": said(state, at=T0), **changes})


_S = TaskState

SAMPLES: tuple[Event, ...] = (
    e.Stored(), e.Held(), e.Delivered(), e.Declined(ERROR), e.Refused(ERROR), e.Expired(ERROR),
    e.Entrusted("did:key:z6MkCarol", "carol", "carol: is near", ("bob: refused",), message("hi")),
    e.Told(1, 1), e.Named("theirs-1"), e.Heard(_S.WORKING, "2027-01-15T08:00:00Z"),
    e.Leased("claude", worker=False, until=T1 + 60), e.LeaseRenewed(T1 + 60), e.LeaseEnded(), e.LeaseReturned(),
    e.Accepted(said(_S.SUBMITTED)), e.Progressed(said(_S.WORKING, "half done")),
    e.ArtifactsGrown((chunk("one"),), 1), e.ArtifactsReplaced((artifact("whole"),)),
    e.Asked(said(_S.INPUT_REQUIRED, "which one?")), e.AuthorizationAsked(said(_S.AUTH_REQUIRED, "log in")),
    e.Replied(message("the blue one"), seq=1), e.CancelAsked(), e.Spoken(),
    e.Completed(), e.Failed(), e.Rejected(), e.Canceled(),
    e.FileLost("blob:1", "no room"), e.Resent(3, (artifact("again"),), said(_S.WORKING)),
    e.Forgotten(message("(removed)"), message("gone", Role.AGENT)),
)  # fmt: skip
"""One event of each type."""

BY_NAME: dict[str, Event] = {type(event).__name__: event for event in SAMPLES}


def a_task_for(event: Event, state: TaskState) -> Task:
    """A task in this state, of a side and at a delivery at which the event may happen."""
    direction = "sent" if "sent" in SIDES[type(event)] else "received"
    changes = {"delivery": Delivery.HELD} if isinstance(event, e.Entrusted) else {}
    return a_task(state, direction, **changes)

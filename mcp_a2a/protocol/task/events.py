"""The events of a task: facts of the past, from which `machine` makes the task as it is.

An event says what happened, and holds the values that were decided where it was made: ids, times of a lease, texts. It
does not say what follows; `machine.apply` does. It is made where a decision is made (by the courier that has a receipt,
by the agent that answers, by the lease clock), after the checks that need more than the task. It is never edited.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.protocol.model import Artifact, ArtifactChunk, Delivery, Message, TaskState, TaskStatus
from mcp_a2a.protocol.task.error import ErrorDetail

# --- the beginning --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A task began with a message. The only event without a task before it; it has no column in `TRANSITIONS`."""

    id: str
    direction: str
    peer: str
    peer_name: str
    context_id: str
    message: Message
    opening: str
    """Id of the payload that opened it; the id of the task is derived from that."""
    delivery: Delivery
    skill: str | None = None
    hop: int = 0
    caller: str = ""
    seq_in: int = -1
    """Number of the newest letter of the other side: the one that opened it, or -1 where none came."""
    seq_out: int = 0
    opened: float = 0.0
    dated: float = 0.0
    chosen: str | None = None
    tried: tuple[str, ...] = ()


# --- delivery of the message that opens it (sent tasks) -------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """A relay keeps a copy for the recipient."""


@dataclass(frozen=True, slots=True)
class Held:
    """The recipient has it; its owner must accept the sender first."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """The recipient signed a receipt, or spoke of the task, which is as good."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The recipient refused it while its sender still chooses an agent by skill: the task stays open for the next."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Refused:
    """The recipient refused it for good, or a file of it cannot go there. It ends."""

    error: ErrorDetail | None = None
    """Without one: the error with which it was declined."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A message of it could not be delivered in its lifetime. It ends."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class Entrusted:
    """Its sender gave it to another agent, because the one before holds it or declined it."""

    peer: str
    peer_name: str
    chosen: str
    tried: tuple[str, ...]
    message: Message


# --- the other side's letters (sent tasks) --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """The agent sent its newest update. What the update says of the work is an event of its own, behind this one."""

    seq: int
    attempt: int
    direct: bool = False
    streamed: int | None = None
    """Chunks of this attempt that are known, where the update counts them anew (`told`, rules 3 and 4)."""


@dataclass(frozen=True, slots=True)
class Named:
    """An agent at a URL gave the task its own id."""

    remote: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An agent at a URL told a status: its state and its time, in the agent's words."""

    state: TaskState
    time: str


# --- leases (received tasks) ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leased:
    """A holder took the task, until then. It is a further attempt."""

    holder: str
    worker: bool
    """The lease ends with the process of its holder."""
    until: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class LeaseRenewed:
    """The holder said that it works on it."""

    until: float


@dataclass(frozen=True, slots=True)
class LeaseEnded:
    """Time was over, the process of the holder is gone, or the attempt crashed. The task waits again."""

    crashed: bool = False


@dataclass(frozen=True, slots=True)
class LeaseReturned:
    """The call that took it was cancelled before it was answered: it was no attempt."""


# --- the work -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The agent has the task and did not begin. Without a status: its owner let it in here."""

    status: TaskStatus | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """The agent works on it, and may say how far it is."""

    status: TaskStatus | None = None


@dataclass(frozen=True, slots=True)
class ArtifactsGrown:
    """Chunks came behind what there was."""

    chunks: tuple[ArtifactChunk, ...]
    streamed: int
    """The number of chunks of this attempt, these included."""
    late: bool = False
    """They came with an update that is not the newest: the task keeps its place in lists."""


@dataclass(frozen=True, slots=True)
class ArtifactsReplaced:
    """Artifacts were made, or took the places of those with their ids, whole."""

    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """The agent asked its caller something."""

    status: TaskStatus


@dataclass(frozen=True, slots=True)
class AuthorizationAsked:
    """The agent needs an authorization from its caller."""

    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Replied:
    """The caller said something more: after a question its answer, and the task goes on."""

    message: Message
    seq: int | None = None
    """Number of the letter that brought it, where one did."""
    made: int | None = None
    """Of a task at a URL: characters of its artifacts by then."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """The caller withdrew a task that its agent has. It goes on until its agent says that it ended."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A letter about the task was written to the other side."""


# --- ends -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    status: TaskStatus | None = None
    """Without one: the state, at the time of the event."""
    error: ErrorDetail | None = None
    """Without one: the error that the task has."""
    delivered: bool = False
    """The end came from the agent, so the agent had the task."""


@dataclass(frozen=True, slots=True)
class Completed(_End):
    """The agent has done it."""

    direct: bool | None = None
    """The message is the answer, and no task is meant by it (A2A 3.1.1); None: as the task has it."""


@dataclass(frozen=True, slots=True)
class Failed(_End):
    """The task failed."""


@dataclass(frozen=True, slots=True)
class Rejected(_End):
    """The agent will not do it."""


@dataclass(frozen=True, slots=True)
class Canceled(_End):
    """Its caller withdrew it, or its caller's owner blocked the agent."""


# --- after the end too ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileLost:
    """A file of the answer cannot be sent: a sentence stands in its place."""

    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resent:
    """The agent tells all of it again, to a caller that knows `seq` as its newest update (-1: none)."""

    seq: int
    artifacts: tuple[Artifact, ...]
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A person had its texts and files removed."""

    opening: Message
    """In the place of the request."""
    note: Message
    """In the place of the answer."""


Event = (
    Stored
    | Held
    | Delivered
    | Declined
    | Refused
    | Expired
    | Entrusted
    | Told
    | Named
    | Heard
    | Leased
    | LeaseRenewed
    | LeaseEnded
    | LeaseReturned
    | Accepted
    | Progressed
    | ArtifactsGrown
    | ArtifactsReplaced
    | Asked
    | AuthorizationAsked
    | Replied
    | CancelAsked
    | Spoken
    | Completed
    | Failed
    | Rejected
    | Canceled
    | FileLost
    | Resent
    | Forgotten
)
"""The events of an existing task."""

EventType = type[Event]

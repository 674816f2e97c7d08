"""Values that the delivery queue is told: messages, clocks, routes, faults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class Kind(StrEnum):
    """Kinds of messages, by the names of the journal."""

    TASK = "task"
    MESSAGE = "message"
    CANCEL = "cancel"
    UPDATE = "update"
    PIECE = "blob"
    """A piece of a file. It goes ahead of the message that names the file."""
    NETWORK = "network"
    """The new secret of a network. It belongs to no task."""


AWAITED = frozenset({Kind.TASK, Kind.MESSAGE})
"""The next message of the task waits for the answer to these: they may be held or put off, and it would overtake them.
An update need not be waited for: it stands for all before it. A cancellation may follow into the mailbox of the same
relay, which keeps the order."""

RESULTS = frozenset({Kind.UPDATE, Kind.PIECE, Kind.NETWORK})
"""Messages that a person cannot send again. A refusal because of a clock ends them only when they expire."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A journalled message, as the queue knows it."""

    id: str
    """Unique among the messages that wait."""
    n: int
    """Order of journalling; rises over restarts."""
    destination: str
    task: str
    """Empty for a message that belongs to no task: it waits for no other one."""
    kind: Kind
    created: float
    """By the wall clock, in seconds since the epoch."""
    expires: float
    """By the wall clock, in seconds since the epoch."""
    kept: float = 0.0
    """The time at which it was journalled, by the sound time (`protocol.aging`)."""
    file: str = ""
    """Of a piece: which file it belongs to."""
    pieces: int = 0
    """Of a piece: how many pieces its file has."""


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """A copy of a message that an earlier process left at a relay."""

    address: str
    token: bytes


@dataclass(frozen=True, slots=True)
class At:
    """Every clock that delivery depends on, in seconds."""

    ticks: float
    """Monotonic. Pauses and timeouts count by it."""
    wall: float
    sound: float
    uptime: float


class Way(Enum):
    """The kinds of routes."""

    DIRECT = auto()
    RELAY = auto()
    HTTP = auto()


@dataclass(frozen=True, slots=True)
class Route:
    """An open connection to a destination."""

    id: int
    """Unique among the open routes of the node."""
    address: str
    way: Way
    present: bool = True
    """Of a relay: whether the destination is connected to it now."""
    shown: str = ""
    """The route in words for a person."""
    streams: bool = False
    """True if the destination reports on an open task by itself, so that the first look need not wait."""

    @property
    def is_relayed(self) -> bool:
        """True if the other end of the route is a relay."""
        return self.way is Way.RELAY


class Fault(Enum):
    """Why a courier could not do what it was asked for."""

    ROUTE_FULL = auto()
    """The route takes no more bytes now."""
    KEY_NOT_VALID = auto()
    """No key of the recipient is known that is valid now."""
    SYSTEM_LIMIT = auto()
    """This process has no open file or no memory left for a file."""
    FILE_LOST = auto()
    """A file that was to be sent is gone."""
    UNREACHABLE = auto()
    """The agent could not be asked, or cannot answer now."""
    LOST = auto()
    """The agent took a message and gave no proper answer: it may have acted on it."""
    UNREADABLE = auto()
    """The answer made no sense, or the recipient could not read the message."""
    AUTH = auto()
    """The agent does not accept our credential."""
    GONE = auto()
    """A bare 404 of the path of a task."""
    TASK_GONE = auto()
    """The agent says that it does not have the task."""
    BROKE = auto()
    """The agent says that it failed over a task that goes on."""


class Hurry(Enum):
    """Why something that waits should be tried now."""

    SIGHTED = auto()
    """The destination was seen, a relay that leads to it came back, or a question about its task was asked."""
    GREETED = auto()
    """The destination introduced itself: what its owner had not allowed yet may be welcome."""
    CLOCK = auto()
    """A clock was set, or became known."""


class Looked(Enum):
    """The outcome of a look at an open task."""

    NEWS = auto()
    SAME = auto()


class Block(Enum):
    """Kinds of obstacles."""

    REFUSED = auto()
    BUSY = auto()
    CLOCKS = auto()
    CLOCK_DOUBTED = auto()
    KEY_NOT_VALID = auto()
    KEY_NOT_THERE = auto()
    SYSTEM_LIMIT = auto()
    TOO_LARGE_FOR_RELAY = auto()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why something does not go on. The words for it are the shell's."""

    block: Block
    route: Route | None = None
    code: str = ""
    """Of a refusal; of one by an agent at a URL, in words."""
    seconds: float = 0.0
    """Until the next attempt."""


@dataclass(frozen=True, slots=True)
class Send:
    """A message to put on a route now. The courier answers with `sent` or `not_sent`."""

    id: str
    destination: str
    route: Route
    anew: bool
    """True if an envelope that was made for it before must not be used again."""

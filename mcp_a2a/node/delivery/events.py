"""The events of the delivery queue: facts about messages, and actions for the shell or a courier."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.node.delivery.model import Fault, Obstacle, Route

# --- events: what happened to messages --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageDelivered:
    """The recipient has signed for the message. It has left the queue."""

    id: str


@dataclass(frozen=True, slots=True)
class MessageStored:
    """A relay keeps a copy of the message; the answer to it must carry `token`."""

    id: str
    address: str
    token: bytes


@dataclass(frozen=True, slots=True)
class MessageHeld:
    """The recipient has signed that its owner must decide first."""

    id: str


@dataclass(frozen=True, slots=True)
class MessagePutOff:
    """The message waits because of `obstacle`, and a caller that waits for its task should know."""

    id: str
    obstacle: Obstacle


@dataclass(frozen=True, slots=True)
class MessageRefused:
    """The message will never be taken. `ids`: it and what cannot go without it; all have left the queue."""

    id: str
    code: str
    ids: tuple[str, ...]
    lost: int = 0
    """The number of times that the recipient took it without a proper answer, and may have acted on it."""


@dataclass(frozen=True, slots=True)
class MessageExpired:
    """The message could not be delivered in its lifetime. It has left the queue."""

    id: str


@dataclass(frozen=True, slots=True)
class MessageDropped:
    """The recipient went on already: a look at the task will show what became of it. It has left the queue."""

    id: str


# --- events: what the shell or a courier must do ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class RedateWanted:
    """The dates of the message do not fit this machine's clock. The shell answers with `redated`."""

    id: str


@dataclass(frozen=True, slots=True)
class MergeWanted:
    """These updates of a task wait at a slow relay, oldest first. The shell answers with `merged`."""

    destination: str
    task: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeWanted:
    """Ask the other end of the route for a sign of life. A route without one is closed by its owner."""

    destination: str
    route: Route


@dataclass(frozen=True, slots=True)
class CheckWanted:
    """Ask a relay what became of the copies that it keeps."""

    destination: str
    route: Route
    tokens: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DialWanted:
    """Open a route. The courier answers with `route_opened` or `unreachable`."""

    destination: str


@dataclass(frozen=True, slots=True)
class LookWanted:
    """Look at the open task of the destination. The courier answers with `looked`."""

    destination: str


@dataclass(frozen=True, slots=True)
class LookGivenUp:
    """So many looks failed in this way that the task is given up."""

    destination: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class DestinationBlocked:
    """Nothing goes to the destination although there is a route."""

    destination: str
    obstacle: Obstacle


MessageFate = (
    MessageDelivered | MessageStored | MessageHeld | MessagePutOff | MessageRefused | MessageExpired | MessageDropped
)

Event = (
    MessageFate
    | RedateWanted
    | MergeWanted
    | ProbeWanted
    | CheckWanted
    | DialWanted
    | LookWanted
    | LookGivenUp
    | DestinationBlocked
)

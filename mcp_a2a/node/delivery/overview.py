"""Views of the delivery queue. Each costs O(1), but for `pending`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mcp_a2a.node.delivery.model import Kind, Obstacle, Outgoing
from mcp_a2a.node.delivery.pending import State
from mcp_a2a.node.delivery.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of one message."""

    message: Outgoing
    tries: int
    """Failed attempts of every kind."""
    stored_at: str
    """Address of the relay that keeps a copy; empty without one."""


class Overview:
    """Views of what waits."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def __len__(self) -> int:
        """The number of waiting messages. The pieces of a file belong to the message that names it."""
        return self._waiting.messages

    def waiting(self, destination: str) -> int:
        """The number of messages that this destination has not taken, without pieces."""
        peer = self._waiting.peers.get(destination)
        return peer.messages if peer is not None else 0

    def is_idle(self, destination: str) -> bool:
        """True if nothing waits for this destination, and no answer of it is awaited."""
        peer = self._waiting.peers.get(destination)
        return peer is None or not (peer.entries or peer.attended)

    def needs_route(self, destination: str) -> bool:
        """True if a message or a piece waits for this destination."""
        peer = self._waiting.peers.get(destination)
        return peer is not None and bool(peer.entries)

    def holds(self, message_id: str) -> bool:
        """True if a message has yet to be taken by its recipient."""
        return message_id in self._waiting.entries

    def is_off_our_hands(self, message_id: str) -> bool:
        """True if a message is delivered, given up, or stored at a relay."""
        entry = self._waiting.entries.get(message_id)
        return entry is None or entry.state is State.STORED

    def tasks_with(self, destination: str, kind: Kind) -> Collection[str]:
        """Tasks of which the destination has yet to take a message of this kind."""
        peer = self._waiting.peers.get(destination)
        return peer.kinds.get(kind, {}).keys() if peer is not None else ()

    def carried(self, token: bytes) -> Outgoing | None:
        """The message that an answer with this token is about: whose signature it must carry."""
        entry = self._waiting.tokens.get(token)
        return entry.some if entry is not None else None

    def obstacle_of_task(self, task: str) -> Obstacle | None:
        """Why a message of this task is not taken now."""
        return next(iter(self._waiting.obstacles.get(task, {}).values()), None)

    def obstacle_of(self, destination: str) -> Obstacle | None:
        """Why nothing goes to a destination although there is a route."""
        peer = self._waiting.peers.get(destination)
        return peer.obstacle if peer is not None else None

    def attempts(self, destination: str) -> tuple[str, ...]:
        """The newest failed attempts to reach a destination, or to poll its task, in the courier's words."""
        peer = self._waiting.peers.get(destination)
        return peer.attempts if peer is not None else ()

    def under_way(self, destination: str) -> int:
        """The number of messages and pieces that are unanswered on a route to this destination."""
        peer = self._waiting.peers.get(destination)
        return len(peer.flying) if peer is not None else 0

    def failures(self, destination: str) -> int:
        """Attempts and routes in a row that brought no answer of this destination."""
        peer = self._waiting.peers.get(destination)
        return peer.failures if peer is not None else 0

    def pending(self, destination: str) -> list[Standing]:
        """The messages that the destination has not taken, in the order of queueing."""
        peer = self._waiting.peers.get(destination)
        entries = peer.entries.values() if peer is not None else ()
        return [Standing(one.some, one.tries, one.address) for one in entries]

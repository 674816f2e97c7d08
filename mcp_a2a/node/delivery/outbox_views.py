"""Views of the messages that a node has to deliver, and of those that are held up."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.delivery.model import Block, Kind, Obstacle
from mcp_a2a.node.delivery.outbox_rows import OutboxRows
from mcp_a2a.node.delivery.queue import DeliveryQueue
from mcp_a2a.node.delivery.reasons import said
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.store.records import has_open_sent

logger = logging.getLogger(__name__)


class OutboxViews:
    """Views of an outbox.

    Args:
        rows: the journal rows of the messages that wait, by id.
        limits: by did, the limit of the system, in words, that keeps a file from going.
    """

    def __init__(
        self,
        context: Context,
        directory: Directory,
        queue: DeliveryQueue,
        rows: OutboxRows,
        limits: Mapping[str, str],
    ) -> None:
        self._context, self._directory, self._queue, self._rows = context, directory, queue, rows
        self._limits = limits

    def __len__(self) -> int:
        """The number of waiting messages; the pieces of a file belong to the one that names it."""
        return len(self._queue)

    def waiting(self, agent: PeerId | str) -> int:
        """The number of messages that this agent has not taken yet."""
        return self._queue.waiting(str(agent))

    def updating(self, peer_id: PeerId) -> frozenset[str]:
        """Tasks of which this peer has yet to take an update."""
        return frozenset(self._queue.tasks_with(str(peer_id), Kind.UPDATE))

    def bringing(self, peer_id: PeerId) -> frozenset[str]:
        """Tasks of which this peer has yet to take a file."""
        return frozenset(self._queue.tasks_with(str(peer_id), Kind.PIECE))

    def tried(self, peer_id: PeerId) -> tuple[str, ...]:
        """The newest failed attempts to reach a peer that something waits for."""
        obstacle = self._queue.obstacle_of(str(peer_id))
        if self._directory.get(peer_id).link is None:
            return self._queue.attempts(str(peer_id))
        return (self._in_words(obstacle, str(peer_id)),) if obstacle is not None else ()

    def tried_at_url(self, task_id: str) -> tuple[str, ...]:
        """Why a task at an agent at a URL does not get on."""
        obstacle = self._queue.obstacle_of_task(task_id)
        return (obstacle.code or said(obstacle),) if obstacle is not None else self._queue.attempts(task_id)

    def refusal(self, task_id: str) -> str | None:
        """Why a relay does not take a message of this task now."""
        obstacle = self._queue.obstacle_of_task(task_id)
        if obstacle is None:
            return None
        row = next(row for row in self._rows.values() if row.task == task_id)
        return self._in_words(obstacle, row.peer) if counterpart_of(row.peer) == "sealed" else None

    def _in_words(self, obstacle: Obstacle, did: str) -> str:
        if obstacle.block is Block.SYSTEM_LIMIT:
            return self._limits.get(did, said(obstacle))
        return said(obstacle, self._context.clocks.blame(PeerId.parse_untrusted(did)))

    def holds(self, message_id: str) -> bool:
        """True if a message has yet to be taken by its recipient."""
        return self._queue.holds(message_id)

    def settled(self, message_id: str) -> bool:
        """True if a message is off our hands: delivered, or stored at a relay."""
        return self._queue.is_off_our_hands(message_id)

    def _expects(self, did: str) -> bool:
        """True if an answer of this peer is awaited."""
        if self._directory.get(PeerId.parse_untrusted(did)).row.trust == "blocked":
            return False
        try:
            return self._context.database.read(lambda connection: has_open_sent(connection, did))
        except McpA2AError as error:  # asked again before the next attempt: delivery goes on without the disk
            logger.warning("whether an answer is awaited of %s cannot be read: %s", did, error)
            return True

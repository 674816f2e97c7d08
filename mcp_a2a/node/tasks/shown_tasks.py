"""Tasks as they are shown: with the name of the other side, the way to it, and the files."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.api.tasks import TaskView
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.delivery.web_courier import WebCourier
from mcp_a2a.node.files.files import Files, shown
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.task_views import Cargo, Way, task_view
from mcp_a2a.ports import Link
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Delivery
from mcp_a2a.protocol.task.task import Task


@dataclass(eq=False)
class ShownTasks:
    """Makes the views of tasks."""

    context: Context
    directory: Directory
    outbox: Outbox
    web_courier: WebCourier
    files: Files
    agents: AgentViews

    def view(self, record: Task, text_offset: int = 0, text_limit: int | None = None) -> TaskView:
        """A task; of a long text, the page that begins at `text_offset` and has `text_limit` characters."""
        files = self.files
        cargo = Cargo(shown(files.received(record)), files.transfer(record))
        name, way = record.peer_name, Way("http", self.web_courier.tried(record.id))
        if record.counterpart == "sealed":
            peer = self.directory.known(PeerId.parse_untrusted(record.peer))
            link = peer.link if peer else None
            name = peer.name if peer else name
            way = Way(
                link.route if link else None,
                self._tried(record, peer, link) if record.sent else (),
                self.outbox.refusal(record.id) if record.delivery == Delivery.QUEUED else None,
            )
        now, name = self.context.clock(), self.agents.called(record.peer, name)
        return task_view(
            record, name=name, way=way, cargo=cargo, now=now, text_offset=text_offset, text_limit=text_limit
        )

    def _tried(self, record: Task, peer: Peer | None, link: Link | None) -> tuple[str, ...]:
        """What stands in the way of a task that is not delivered; or why it goes through a relay."""
        if record.delivery == Delivery.QUEUED:
            return self.outbox.tried(PeerId.parse_untrusted(record.peer))
        return peer.tried if peer and link and link.is_relayed else ()

"""Tasks as they are shown: with the name of the other side, the way to it, and the files."""

from __future__ import annotations

from dataclasses import dataclass

from mcp_a2a.api.tasks import TaskView
from mcp_a2a.node.agents.agent_views import AgentViews
from mcp_a2a.node.files.files import Files, shown
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.task_couriers import TaskCouriers
from mcp_a2a.node.tasks.task_views import Cargo, Way, task_view
from mcp_a2a.protocol.task.task import Task


@dataclass(eq=False)
class ShownTasks:
    """Makes the views of tasks."""

    context: Context
    directory: Directory
    couriers: TaskCouriers
    files: Files
    agents: AgentViews

    def view(self, record: Task, text_offset: int = 0, text_limit: int | None = None) -> TaskView:
        """A task; of a long text, the page that begins at `text_offset` and has `text_limit` characters."""
        files = self.files
        cargo = Cargo(shown(files.received(record)), files.transfer(record))
        courier, known = self.couriers.get(record.counterpart), self.directory.with_did(record.peer)
        name, way = known.name if known else record.peer_name, courier.way(record) if courier else Way("http")
        name = self.agents.called(record.peer, name)
        now = 0.0 if record.lease_until is None else self.context.clock()  # it tells if a lease still holds
        return task_view(
            record, name=name, way=way, cargo=cargo, now=now, text_offset=text_offset, text_limit=text_limit
        )

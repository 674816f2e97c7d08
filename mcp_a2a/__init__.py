"""mcp-a2a: a phone book and a mailbox for AI agents.

Importing this package is cheap; each name below is imported when it is first used.

| to | use |
|---|---|
| make an agent | `Agent`, `skill`, `TaskContext`, `Chunk`, `File`, `Reject` |
| be a peer in your own program | `open_node(Settings(…))`, which yields a `NodeApi`: `await node.call(question)` |
| ask a node | the questions of `mcp_a2a.api`, by subject; the class of a question names its answer |
| speak A2A | `AgentCard`, `AgentSkill`, `Task`, `TaskState`, `Message`, `Part`, `Artifact`, … |
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mcp_a2a.version import __version__

if TYPE_CHECKING:
    from mcp_a2a.agent.definition import Agent
    from mcp_a2a.agent.loading import skill
    from mcp_a2a.agent.result import File
    from mcp_a2a.app import open_node
    from mcp_a2a.config import Settings
    from mcp_a2a.errors import McpA2AError
    from mcp_a2a.node.worker.job import Chunk, Reject
    from mcp_a2a.node.worker.task_context import TaskContext
    from mcp_a2a.ports import NodeApi
    from mcp_a2a.protocol.model import (
        AgentCard,
        AgentExtension,
        AgentSkill,
        Artifact,
        Delivery,
        Message,
        Part,
        Role,
        TaskState,
        TaskStatus,
    )
    from mcp_a2a.protocol.model import TaskDocument as Task

__all__ = [
    "Agent",
    "AgentCard",
    "AgentExtension",
    "AgentSkill",
    "Artifact",
    "Chunk",
    "Delivery",
    "File",
    "McpA2AError",
    "Message",
    "NodeApi",
    "Part",
    "Reject",
    "Role",
    "Settings",
    "Task",
    "TaskContext",
    "TaskState",
    "TaskStatus",
    "__version__",
    "open_node",
    "skill",
]

_HOMES = {
    "Agent": "mcp_a2a.agent.definition",
    "Chunk": "mcp_a2a.node.worker.job",
    "File": "mcp_a2a.agent.result",
    "McpA2AError": "mcp_a2a.errors",
    "NodeApi": "mcp_a2a.ports",
    "Reject": "mcp_a2a.node.worker.job",
    "Settings": "mcp_a2a.config",
    "TaskContext": "mcp_a2a.node.worker.task_context",
    "open_node": "mcp_a2a.app",
    "skill": "mcp_a2a.agent.loading",
}
_NAMES_THERE = {"Task": "TaskDocument"}
"""Inside, a task is the value of the task machine, and A2A's noun is the document about it."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES.get(name, "mcp_a2a.protocol.model"))
    return getattr(home, _NAMES_THERE.get(name, name))


def __dir__() -> list[str]:
    return [*globals(), *__all__]

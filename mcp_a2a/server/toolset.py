"""The tools of the server: which there are, and what each may do to the world."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, get_type_hints

from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ToolAnnotations

from mcp_a2a.server.agents import discover, get_agent
from mcp_a2a.server.contacts import accept_contact
from mcp_a2a.server.files import save_files
from mcp_a2a.server.inbox import answer_task, check_inbox
from mcp_a2a.server.schema import input_schema, output_schema
from mcp_a2a.server.tasks import cancel_task, get_task_status, list_tasks, reply_to_task, send_task, send_task_by_skill

ToolFunction: TypeAlias = Callable[..., Awaitable[CallToolResult]]  # type: ignore[explicit-any]  # arguments differ


@dataclass(frozen=True)
class ToolSpec:
    """A function whose docstring is the description that the model reads, and its hints for the client.

    Its return annotation, `Annotated[CallToolResult, View]`, names the view that is its structured content.
    """

    function: ToolFunction
    title: str
    reads_only: bool = False
    idempotent: bool = False
    open_world: bool = True

    def build(self) -> Tool:
        """The tool as the SDK serves it.

        The schema is published, and the result not checked against it: it was made from that very model.
        """
        tool = Tool.from_function(
            self.function,
            title=self.title,
            description=inspect.getdoc(self.function),
            annotations=self._annotations(),
            structured_output=False,
        )
        (view,) = get_type_hints(self.function, include_extras=True)["return"].__metadata__
        tool.fn_metadata.output_schema = output_schema(view)
        tool.parameters = input_schema(tool.parameters)
        return tool

    def _annotations(self) -> ToolAnnotations:
        # No tool here destroys anything: what it does adds, and a cancel stops.
        return ToolAnnotations(
            title=self.title,
            read_only_hint=self.reads_only,
            destructive_hint=False,
            idempotent_hint=self.idempotent or self.reads_only,
            open_world_hint=self.open_world,
        )


TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec(discover, "Find agents", reads_only=True),
    ToolSpec(get_agent, "Show an agent", reads_only=True),
    ToolSpec(send_task, "Send a task"),
    ToolSpec(send_task_by_skill, "Send a task by skill"),
    ToolSpec(get_task_status, "Get a task's status and result", reads_only=True),
    ToolSpec(save_files, "Save the files of a task", open_world=False),
    ToolSpec(reply_to_task, "Reply to a task"),
    ToolSpec(cancel_task, "Cancel a task", idempotent=True),
    ToolSpec(list_tasks, "List tasks", reads_only=True, open_world=False),
    ToolSpec(check_inbox, "Check the inbox"),  # takes leases, so it does not only read
    ToolSpec(accept_contact, "Ask to accept a contact", idempotent=True),
    ToolSpec(answer_task, "Answer a task"),
)

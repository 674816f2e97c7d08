"""A look at a task before something is done with it, without a node that is started for that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from mcp_a2a.cli.arguments import check_task

if TYPE_CHECKING:
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.cli.session import Session
    from mcp_a2a.cli.steps import Steps


def seen_task(session: Session, task_id: str) -> TaskView:
    """The task as it is known here.

    Raises:
        TaskNotFoundError: there is none with this id.
    """
    check_task(task_id)
    return session.read(partial(look, task_id, 0), at_rest=True)


def look(task_id: str, offset: int) -> Steps[TaskView]:
    """Ask for a task."""
    return cast("TaskView", (yield "get_task", {"task_id": task_id, "text_offset": offset}))

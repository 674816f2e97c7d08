"""The requests of a command to a node before it shows something: a generator of requests, which gets the answers.

The same questions go to a node by its control socket, without the models of the answers (`node.ipc.glance`), or by
them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from mcp_a2a.cli.arguments import check_task

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.cli.session import Session
    from mcp_a2a.node.ipc.glance import Glance
    from mcp_a2a.ports import NodeApi

T = TypeVar("T")

Question: TypeAlias = "tuple[str, Mapping[str, JsonValue]]"
"""An operation of `NodeApi`, and the fields of its request."""

Steps: TypeAlias = Generator[Question, object, T]
"""Each question is answered by its view, or by what has the same attributes (`node.ipc.view_reader`)."""


def answered(steps: Steps[T], looking: Glance) -> T:
    """Ask the questions one after the other; what the command makes of the answers."""
    try:
        operation, request = next(steps)
        while True:
            operation, request = steps.send(looking.ask(operation, request))
    except StopIteration as end:
        return cast("T", end.value)


async def perform(steps: Steps[T], node: NodeApi) -> T:
    """The same by a node, or by its remote twin."""
    from mcp_a2a.api.operations import OPERATIONS

    try:
        operation, request = next(steps)
        while True:
            operation, request = steps.send(await node.call(OPERATIONS[operation].model_validate(request)))
    except StopIteration as end:
        return cast("T", end.value)


# A look at a task before something is done with it, without a node that is started for that.


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

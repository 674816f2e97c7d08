"""What a command asks a node before it shows something: a generator of questions, which is sent the answers.

The same questions go to a node by its control socket, without the models of the answers (`node.ipc.glance`), or by
them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.node.ipc.glance import Glance
    from mcp_a2a.ports import NodeApi

T = TypeVar("T")

Question: TypeAlias = "tuple[str, Mapping[str, JsonValue]]"
"""An operation of `NodeApi`, and the fields of its request."""

Steps: TypeAlias = Generator[Question, object, T]
"""Each question is answered by its view, or by what has the same attributes (`node.ipc.told`)."""


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

"""The table of a node: the class of each question, and the method that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import ParamSpec, TypeAlias

from mcp_a2a.api.request import A, Request
from mcp_a2a.api.view import View

P = ParamSpec("P")

Handler: TypeAlias = Callable[[Request[View]], Awaitable[View]]

MARK = "_answers"


def answers(
    kind: type[Request[A]],
) -> Callable[[Callable[P, Coroutine[object, object, A]]], Callable[P, Coroutine[object, object, A]]]:
    """Mark the method of a service that answers questions of this class; the type checker compares the answers."""

    def mark(method: Callable[P, Coroutine[object, object, A]]) -> Callable[P, Coroutine[object, object, A]]:
        setattr(method, MARK, kind)
        return method

    return mark


def handlers_of(*services: object) -> Mapping[type[Request[View]], Handler]:
    """The marked methods of services, as they are overridden.

    Raises:
        TypeError: two methods answer one question.
    """
    found: dict[type[Request[View]], Handler] = {}
    for service in services:
        marked = {
            name: kind
            for base in type(service).__mro__
            for name, member in vars(base).items()
            if (kind := getattr(member, MARK, None)) is not None
        }
        for name, kind in marked.items():
            if kind in found:
                raise TypeError(f"{name} of {type(service).__name__} is the second method for {kind.__name__}")
            found[kind] = getattr(service, name)
    return found


class LocalNode:
    """A node of this process: each question goes to the method that is marked for it."""

    def __init__(self, *services: object) -> None:
        self._handlers = handlers_of(self, *services)

    async def call(self, request: Request[A], /) -> A:
        """See `NodeApi`.

        Raises:
            LookupError: this node does not answer such questions.
        """
        return await self._handlers[type(request)](request)  # type: ignore[return-value]  # as `answers` has checked

"""A node that answers one caller: each question of `NodeApi` is prepared as the caller means it.

How it is asked is another matter: `SharedNode` owns it or reaches its owner, `LentNode` is the owner's for a client
that speaks through another process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from typing_extensions import override

from mcp_a2a.api.request import A, Request
from mcp_a2a.node.ipc.caller import Caller

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi


class AskedNode(ABC):
    """`NodeApi` for one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @abstractmethod
    async def ask(self, request: Request[A]) -> A:
        """Have the node answer a question as it is.

        Raises:
            McpA2AError: what the node raised.
        """

    async def call(self, request: Request[A], /) -> A:
        """See `NodeApi`."""
        return await self.ask(self._caller.prepared(request))


class LentNode(AskedNode):
    """The node of this process, for a client of another one."""

    def __init__(self, api: NodeApi, caller: Caller) -> None:
        super().__init__(caller)
        self._api = api

    @override
    async def ask(self, request: Request[A]) -> A:
        return await self._api.call(request)

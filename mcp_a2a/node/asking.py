"""A node that answers one caller: each question of `NodeApi` is prepared as the caller means it.

How it is asked is another matter: `SharedNode` owns it or reaches its owner, `LentNode` is the owner's for a client
that speaks through another process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from typing_extensions import override

from mcp_a2a import exchange, views
from mcp_a2a.api.request import A, Request
from mcp_a2a.node.caller import Caller

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

    # --- NodeApi ---------------------------------------------------------------------------------

    async def discover(self, request: views.DiscoverRequest) -> views.DiscoverView:
        """See `NodeApi`."""
        return await self.call(request)

    async def get_agent(self, request: views.GetAgentRequest) -> views.AgentDetail:
        """See `NodeApi`."""
        return await self.call(request)

    async def rename(self, request: views.RenameRequest) -> views.RenameView:
        """See `NodeApi`."""
        return await self.call(request)

    async def peers(self, request: views.PeersRequest) -> views.PeersView:
        """See `NodeApi`."""
        return await self.call(request)

    async def add_peer(self, request: views.AddPeerRequest) -> views.AgentView:
        """See `NodeApi`."""
        return await self.call(request)

    async def news(self, request: views.NewsRequest) -> views.NewsView:
        """See `NodeApi`."""
        return await self.call(request)

    async def set_trust(self, request: views.SetTrustRequest) -> views.SetTrustView:
        """See `NodeApi`."""
        return await self.call(request)

    async def consent(self, request: views.ConsentRequest) -> views.ConsentView:
        """See `NodeApi`."""
        return await self.call(request)

    async def send_task(self, request: views.SendTaskRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def send_task_by_skill(self, request: views.SendTaskBySkillRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def get_task(self, request: views.GetTaskRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def reply_to_task(self, request: views.ReplyRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def cancel_task(self, request: views.CancelRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def forget(self, request: views.ForgetRequest) -> views.ForgetView:
        """See `NodeApi`."""
        return await self.call(request)

    async def list_tasks(self, request: views.ListTasksRequest) -> views.TaskPage:
        """See `NodeApi`."""
        return await self.call(request)

    async def check_inbox(self, request: views.CheckInboxRequest) -> views.InboxView:
        """See `NodeApi`."""
        return await self.call(request)

    async def answer_task(self, request: views.AnswerRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self.call(request)

    async def open_files(self, request: views.FilesRequest) -> views.FilesView:
        """See `NodeApi`."""
        return await self.call(request)

    async def save_files(self, request: views.SaveFilesRequest) -> views.SavedFilesView:
        """See `NodeApi`."""
        return await self.call(request)

    async def invite(self, request: views.InviteRequest) -> views.InviteView:
        """See `NodeApi`."""
        return await self.call(request)

    async def join(self, request: views.JoinRequest) -> views.JoinView:
        """See `NodeApi`."""
        return await self.call(request)

    async def networks(self, request: views.NetworksRequest) -> views.NetworksView:
        """See `NodeApi`."""
        return await self.call(request)

    async def leave(self, request: views.LeaveRequest) -> views.NetworkView:
        """See `NodeApi`."""
        return await self.call(request)

    async def rotate(self, request: views.RotateRequest) -> views.RotateView:
        """See `NodeApi`."""
        return await self.call(request)

    async def ping(self, request: views.PingRequest) -> views.PingView:
        """See `NodeApi`."""
        return await self.call(request)

    async def netcheck(self, request: views.NetcheckRequest) -> views.NetcheckView:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_send(self, request: exchange.A2ASendRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_get(self, request: exchange.A2AGetRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_list(self, request: exchange.A2AListRequest) -> exchange.A2ATaskPage:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_cancel(self, request: exchange.A2ACancelRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_follow(self, request: exchange.A2AFollowRequest) -> exchange.A2AFollowView:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_card(self, request: exchange.A2ACardRequest) -> exchange.A2ACardView:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_push_set(self, request: exchange.A2APushSetRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_push_get(self, request: exchange.A2APushGetRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self.call(request)

    async def a2a_push_delete(self, request: exchange.A2APushDeleteRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self.call(request)


class LentNode(AskedNode):
    """The node of this process, for a client of another one."""

    def __init__(self, api: NodeApi, caller: Caller) -> None:
        super().__init__(caller)
        self._api = api

    @override
    async def ask(self, request: Request[A]) -> A:
        return await self._api.call(request)

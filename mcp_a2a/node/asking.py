"""A node that is asked for somebody: every operation of `NodeApi`, told as the caller means it.

How it is asked is another matter: `SharedNode` owns it or reaches its owner, `LentNode` is the owner's for a client
that speaks through another process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar, cast

from typing_extensions import override

from mcp_a2a import exchange, views
from mcp_a2a.node.caller import Caller, PassedOn, once

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

Answer = TypeVar("Answer", bound=views.View)


class AskedNode(ABC):
    """`NodeApi` for one caller."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @abstractmethod
    async def ask(self, op: str, request: views.View) -> views.View:
        """Have the node perform an operation.

        Raises:
            McpA2AError: what the node raised.
        """

    async def _ask(self, op: str, request: views.View, answer: type[Answer]) -> Answer:
        return cast("Answer", await self.ask(op, request))

    def _leaving(self, request: PassedOn) -> PassedOn:
        caller = self._caller
        return once(caller.with_files(caller.passed_on(caller.answered_for(request))))

    # --- NodeApi ---------------------------------------------------------------------------------

    async def discover(self, request: views.DiscoverRequest) -> views.DiscoverView:
        """See `NodeApi`."""
        return await self._ask("discover", request, views.DiscoverView)

    async def get_agent(self, request: views.GetAgentRequest) -> views.AgentDetail:
        """See `NodeApi`."""
        return await self._ask("get_agent", self._caller.answered_for(request), views.AgentDetail)

    async def rename(self, request: views.RenameRequest) -> views.RenameView:
        """See `NodeApi`."""
        return await self._ask("rename", request, views.RenameView)

    async def peers(self, request: views.PeersRequest) -> views.PeersView:
        """See `NodeApi`."""
        return await self._ask("peers", request, views.PeersView)

    async def add_peer(self, request: views.AddPeerRequest) -> views.AgentView:
        """See `NodeApi`."""
        return await self._ask("add_peer", request, views.AgentView)

    async def news(self, request: views.NewsRequest) -> views.NewsView:
        """See `NodeApi`."""
        return await self._ask("news", request, views.NewsView)

    async def set_trust(self, request: views.SetTrustRequest) -> views.SetTrustView:
        """See `NodeApi`."""
        return await self._ask("set_trust", request, views.SetTrustView)

    async def consent(self, request: views.ConsentRequest) -> views.ConsentView:
        """See `NodeApi`."""
        return await self._ask("consent", request, views.ConsentView)

    async def send_task(self, request: views.SendTaskRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask("send_task", self._leaving(request), views.TaskView)

    async def send_task_by_skill(self, request: views.SendTaskBySkillRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask("send_task_by_skill", self._leaving(request), views.TaskView)

    async def get_task(self, request: views.GetTaskRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask("get_task", request, views.TaskView)

    async def reply_to_task(self, request: views.ReplyRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask("reply_to_task", self._leaving(request), views.TaskView)

    async def cancel_task(self, request: views.CancelRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask("cancel_task", request, views.TaskView)

    async def forget(self, request: views.ForgetRequest) -> views.ForgetView:
        """See `NodeApi`."""
        return await self._ask("forget", request, views.ForgetView)

    async def list_tasks(self, request: views.ListTasksRequest) -> views.TaskPage:
        """See `NodeApi`."""
        return await self._ask("list_tasks", request, views.TaskPage)

    async def check_inbox(self, request: views.CheckInboxRequest) -> views.InboxView:
        """See `NodeApi`."""
        return await self._ask("check_inbox", request, views.InboxView)

    async def answer_task(self, request: views.AnswerRequest) -> views.TaskView:
        """See `NodeApi`."""
        return await self._ask(
            "answer_task", self._caller.with_files(self._caller.answered_for(request)), views.TaskView
        )

    async def open_files(self, request: views.FilesRequest) -> views.FilesView:
        """See `NodeApi`."""
        return await self._ask("open_files", request, views.FilesView)

    async def save_files(self, request: views.SaveFilesRequest) -> views.SavedFilesView:
        """See `NodeApi`."""
        return await self._ask("save_files", self._caller.saving(request), views.SavedFilesView)

    async def invite(self, request: views.InviteRequest) -> views.InviteView:
        """See `NodeApi`."""
        return await self._ask("invite", request, views.InviteView)

    async def join(self, request: views.JoinRequest) -> views.JoinView:
        """See `NodeApi`."""
        return await self._ask("join", request, views.JoinView)

    async def networks(self, request: views.NetworksRequest) -> views.NetworksView:
        """See `NodeApi`."""
        return await self._ask("networks", request, views.NetworksView)

    async def leave(self, request: views.LeaveRequest) -> views.NetworkView:
        """See `NodeApi`."""
        return await self._ask("leave", request, views.NetworkView)

    async def rotate(self, request: views.RotateRequest) -> views.RotateView:
        """See `NodeApi`."""
        return await self._ask("rotate", request, views.RotateView)

    async def ping(self, request: views.PingRequest) -> views.PingView:
        """See `NodeApi`."""
        return await self._ask("ping", request, views.PingView)

    async def netcheck(self, request: views.NetcheckRequest) -> views.NetcheckView:
        """See `NodeApi`."""
        return await self._ask("netcheck", request, views.NetcheckView)

    async def a2a_send(self, request: exchange.A2ASendRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self._ask("a2a_send", once(self._caller.answered_for(request)), exchange.A2AAnswer)

    async def a2a_get(self, request: exchange.A2AGetRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self._ask("a2a_get", request, exchange.A2AAnswer)

    async def a2a_list(self, request: exchange.A2AListRequest) -> exchange.A2ATaskPage:
        """See `NodeApi`."""
        return await self._ask("a2a_list", request, exchange.A2ATaskPage)

    async def a2a_cancel(self, request: exchange.A2ACancelRequest) -> exchange.A2AAnswer:
        """See `NodeApi`."""
        return await self._ask("a2a_cancel", request, exchange.A2AAnswer)

    async def a2a_follow(self, request: exchange.A2AFollowRequest) -> exchange.A2AFollowView:
        """See `NodeApi`."""
        return await self._ask("a2a_follow", request, exchange.A2AFollowView)

    async def a2a_card(self, request: exchange.A2ACardRequest) -> exchange.A2ACardView:
        """See `NodeApi`."""
        return await self._ask("a2a_card", request, exchange.A2ACardView)

    async def a2a_push_set(self, request: exchange.A2APushRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self._ask("a2a_push_set", request, exchange.A2APushView)

    async def a2a_push_get(self, request: exchange.A2APushRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self._ask("a2a_push_get", request, exchange.A2APushView)

    async def a2a_push_delete(self, request: exchange.A2APushRequest) -> exchange.A2APushView:
        """See `NodeApi`."""
        return await self._ask("a2a_push_delete", request, exchange.A2APushView)


class LentNode(AskedNode):
    """The node of this process, for a client of another one."""

    def __init__(self, api: NodeApi, caller: Caller) -> None:
        super().__init__(caller)
        self._api = api

    @override
    async def ask(self, op: str, request: views.View) -> views.View:
        return cast("views.View", await getattr(self._api, op)(request))

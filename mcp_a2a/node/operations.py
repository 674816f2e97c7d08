"""The operations of `NodeApi` as data, so that a wire can carry them by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mcp_a2a import exchange, views
from mcp_a2a.views import View

OPERATIONS: Mapping[str, tuple[type[View], type[View]]] = MappingProxyType(
    {
        "discover": (views.DiscoverRequest, views.DiscoverView),
        "get_agent": (views.GetAgentRequest, views.AgentDetail),
        "rename": (views.RenameRequest, views.RenameView),
        "peers": (views.PeersRequest, views.PeersView),
        "add_peer": (views.AddPeerRequest, views.AgentView),
        "consent": (views.ConsentRequest, views.ConsentView),
        "news": (views.NewsRequest, views.NewsView),
        "set_trust": (views.SetTrustRequest, views.SetTrustView),
        "send_task": (views.SendTaskRequest, views.TaskView),
        "send_task_by_skill": (views.SendTaskBySkillRequest, views.TaskView),
        "get_task": (views.GetTaskRequest, views.TaskView),
        "reply_to_task": (views.ReplyRequest, views.TaskView),
        "cancel_task": (views.CancelRequest, views.TaskView),
        "forget": (views.ForgetRequest, views.ForgetView),
        "list_tasks": (views.ListTasksRequest, views.TaskPage),
        "check_inbox": (views.CheckInboxRequest, views.InboxView),
        "invite": (views.InviteRequest, views.InviteView),
        "join": (views.JoinRequest, views.JoinView),
        "networks": (views.NetworksRequest, views.NetworksView),
        "leave": (views.LeaveRequest, views.NetworkView),
        "rotate": (views.RotateRequest, views.RotateView),
        "ping": (views.PingRequest, views.PingView),
        "netcheck": (views.NetcheckRequest, views.NetcheckView),
        "answer_task": (views.AnswerRequest, views.TaskView),
        "open_files": (views.FilesRequest, views.FilesView),
        "save_files": (views.SaveFilesRequest, views.SavedFilesView),
        "a2a_send": (exchange.A2ASendRequest, exchange.A2AAnswer),
        "a2a_get": (exchange.A2AGetRequest, exchange.A2AAnswer),
        "a2a_list": (exchange.A2AListRequest, exchange.A2ATaskPage),
        "a2a_cancel": (exchange.A2ACancelRequest, exchange.A2AAnswer),
        "a2a_follow": (exchange.A2AFollowRequest, exchange.A2AFollowView),
        "a2a_card": (exchange.A2ACardRequest, exchange.A2ACardView),
        "a2a_push_set": (exchange.A2APushRequest, exchange.A2APushView),
        "a2a_push_get": (exchange.A2APushRequest, exchange.A2APushView),
        "a2a_push_delete": (exchange.A2APushRequest, exchange.A2APushView),
    }
)
"""Name of the operation, its question, its answer."""

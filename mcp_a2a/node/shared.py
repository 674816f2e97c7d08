"""One node, many processes: whoever locks the identity's folder first owns the node, the others ask it.

Assistants start an MCP server per window, and some start each one twice. All of them serve the same inbox: the owner
runs the node, the others reach it over the control socket, and when the owner exits one of them takes over.

A call that the owner's end interrupts is made again at the next owner. That is safe: sending carries an idempotency
key, answering the same thing twice counts once, and the rest only asks.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
from filelock import FileLock, Timeout

from mcp_a2a import exchange, views
from mcp_a2a.errors import McpA2AError, NodeSilentError
from mcp_a2a.exchange import OWN_KEY
from mcp_a2a.node.control import OwnerLostError, OwnerSilentError, connect_control
from mcp_a2a.node.glance import ask_to_leave
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.owner_file import has_stand_in, read_owner, state_of, write_owner
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.system_limits import limit_behind

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

logger = logging.getLogger(__name__)

REACH_SECONDS = 5.0
"""How long a process waits for one that has the folder, and neither answers nor gives it up."""

RETRY_SECONDS = 0.1
"""How often a process without a node looks again whether it can own or reach one."""

RESTART_SECONDS = 1.0
"""Pause before a node that crashed is started again."""

_PROCESS, _NUMBERS = uuid.uuid4().hex, itertools.count()
"""Together they name a call of this process, and no other ever."""

Answer = TypeVar("Answer", bound=views.View)

_Leaving = TypeVar(
    "_Leaving",
    views.SendTaskRequest,
    views.SendTaskBySkillRequest,
    views.ReplyRequest,
    views.AnswerRequest,
    views.GetAgentRequest,
    exchange.A2ASendRequest,
)
"""What something may leave with."""

OpenOwner = Callable[[], AbstractAsyncContextManager["NodeApi"]]
"""Opens the node itself, with its control socket. The caller holds the lock."""


Call = Callable[[str, views.View], Awaitable[views.View]]
"""Asks whoever owns the node."""


_PassedOn = TypeVar("_PassedOn", views.SendTaskRequest, views.SendTaskBySkillRequest, views.ReplyRequest)


class _Direct:
    """Calls to a node of this process. They end with the node, as calls to another process end with it."""

    def __init__(self, api: NodeApi, calls: set[anyio.CancelScope]) -> None:
        self._api = api
        self._calls = calls

    async def call(self, op: str, request: views.View) -> views.View:
        with anyio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                return cast("views.View", await getattr(self._api, op)(request))
            finally:
                self._calls.discard(scope)
        raise OwnerLostError("The node went away.")


class SharedNode:
    """`NodeApi` of an identity, from any number of processes. Starts on `start` or on the first call."""

    def __init__(self, folder: Path, open_owner: OpenOwner, *, allow_strangers: bool = False, hop: int = 0) -> None:
        self._folder = folder
        self._hop = min(hop, views.MAX_HOP)
        self._allow_strangers = allow_strangers
        self._open_owner = open_owner
        self._wanted = anyio.Event()
        self._changed = anyio.Event()
        self._call: Call | None = None
        self._calls: set[anyio.CancelScope] = set()
        self._failure: McpA2AError | None = None
        self._came_up = self._opening = False
        self.owner = False
        """Whether this process runs the node."""

    def start(self) -> None:
        """Begin to own or reach the node, in the background."""
        self._wanted.set()

    async def ready(self) -> None:
        """Wait until the node can be asked.

        Raises:
            McpA2AError: it cannot run here, and why.
        """
        self.start()
        while self._call is None:
            if self._failure is not None:
                raise self._failure
            with anyio.move_on_after(None if self._opening else REACH_SECONDS) as waiting:
                await self._changed.wait()
            if waiting.cancelled_caught and not self._opening:
                raise self._silent("cannot be reached")

    async def run(self) -> None:
        """Own or reach the node until cancelled."""
        await self._wanted.wait()
        while True:
            try:
                if not await self._own() and not await self._attach():
                    await anyio.sleep(RETRY_SECONDS)
            except Exception as error:
                reason = _only_reason(error)
                known = reason if isinstance(reason, McpA2AError) else None
                if known is None and not self._came_up:
                    known = _of_this_machine(reason)
                if known is None:
                    logger.exception("the node stopped unexpectedly; it is started again")
                self._set(None, failure=known or self._unforeseen(reason))
                await anyio.sleep(RESTART_SECONDS)

    def _unforeseen(self, reason: Exception) -> McpA2AError | None:
        """What to tell callers of a crash: nothing when the node ran before it, for they need only wait a moment."""
        if self._came_up:
            return None
        return McpA2AError(
            f"The node could not be started: {type(reason).__name__}: {reason}.",
            "It is tried again every second; its log tells more. Please report this.",
        )

    async def _own(self) -> bool:
        """Run the node here, until cancelled; False when another process does."""
        self._came_up = False
        open_folder(self._folder)
        lock = FileLock(self._folder / "lock", thread_local=False, mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise refused(self._folder, error) from error
        self._opening = True
        write_owner(self._folder)
        try:
            async with self._open_owner() as api:
                try:
                    self.owner = self._came_up = True
                    self._set(_Direct(api, self._calls).call)
                    await anyio.sleep_forever()
                finally:
                    self._abdicate()
        finally:
            self._opening = False
            lock.release()
        return True

    def _abdicate(self) -> None:
        """The node is about to end: who asks it now asks the next."""
        self.owner = False
        self._set(None)
        for scope in list(self._calls):
            scope.cancel()

    async def _attach(self) -> bool:
        """Ask the owner until it goes away; False when it cannot be reached (yet), or only stands in for us."""
        if has_stand_in(self._folder):
            ask_to_leave(self._folder)
            return False
        with contextlib.suppress(OSError):
            async with connect_control(socket_path(self._folder)) as client:
                self._set(client.call)
                await client.lost.wait()
                self._set(None)
                return True
        return False

    def _set(self, call: Call | None, failure: McpA2AError | None = None) -> None:
        self._call, self._failure = call, failure
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _ask(self, op: str, request: views.View, answer: type[Answer]) -> Answer:
        while True:
            await self.ready()
            call, owner_changes = self._call, self._changed
            if call is None:
                continue
            try:
                return cast("Answer", await call(op, request))
            except OwnerSilentError:
                raise self._silent("does not answer") from None
            except OwnerLostError:
                if isinstance(request, exchange.A2ASendRequest):
                    request = request.model_copy(update={"again": True})
                if self._call is call:
                    await owner_changes.wait()

    def _silent(self, doing: str) -> NodeSilentError:
        pid = read_owner(self._folder)
        return NodeSilentError(str(self._folder), pid, state_of(pid) if pid is not None else None, doing)

    def _answered_for(self, request: _Leaving) -> _Leaving:
        """The request as this process was told to make it: the node may belong to another one, told otherwise."""
        if not self._allow_strangers or request.consent != "ask":
            return request
        return request.model_copy(update={"consent": "waived"})

    def _passed_on(self, request: _PassedOn) -> _PassedOn:
        """The request with the hop of the task that this process works on."""
        return request.model_copy(update={"hop": max(request.hop, self._hop)})

    def _leaving(self, request: _PassedOn) -> _PassedOn:
        return _once(self._passed_on(self._answered_for(request)))

    # --- NodeApi ---------------------------------------------------------------------------------

    async def discover(self, request: views.DiscoverRequest) -> views.DiscoverView:
        """See `NodeApi`."""
        return await self._ask("discover", request, views.DiscoverView)

    async def get_agent(self, request: views.GetAgentRequest) -> views.AgentDetail:
        """See `NodeApi`."""
        return await self._ask("get_agent", self._answered_for(request), views.AgentDetail)

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
        return await self._ask("answer_task", self._answered_for(request), views.TaskView)

    async def open_files(self, request: views.FilesRequest) -> views.FilesView:
        """See `NodeApi`."""
        return await self._ask("open_files", request, views.FilesView)

    async def save_files(self, request: views.SaveFilesRequest) -> views.SavedFilesView:
        """See `NodeApi`."""
        return await self._ask("save_files", request, views.SavedFilesView)

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
        return await self._ask("a2a_send", _once(self._answered_for(request)), exchange.A2AAnswer)

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


def _of_this_machine(reason: Exception) -> McpA2AError | None:
    """What a person can mend: a limit of the system, or a file of the data folder that is not as it should be."""
    if isinstance(reason, OSError) and isinstance(reason.filename, str):
        return refused(Path(reason.filename), reason)
    return limit_behind(reason)


def _only_reason(error: Exception) -> Exception:
    """What happened, without the groups that it comes in out of task groups."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


_Sending = TypeVar(
    "_Sending", views.SendTaskRequest, views.SendTaskBySkillRequest, views.ReplyRequest, exchange.A2ASendRequest
)


def _once(request: _Sending) -> _Sending:
    """The same call made twice must be the same task."""
    if request.idempotency_key is not None:
        return request
    return request.model_copy(update={"idempotency_key": f"{OWN_KEY}{_PROCESS}-{next(_NUMBERS)}"})


@contextlib.asynccontextmanager
async def share(node: SharedNode) -> AsyncIterator[SharedNode]:
    """Keep a shared node going while the context lasts."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run)
        try:
            yield node
        except Exception as error:  # noqa: BLE001  raised below as it was, without a group around it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure

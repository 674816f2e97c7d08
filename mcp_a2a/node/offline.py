"""Answers from the disk while no process runs the node: the same views, of a node that is put together and not run.

Nothing is written and nothing is sent. The parts that only a running node knows are left out, and the answer says so:
no agent is online, and no relay was asked.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import override

from mcp_a2a.api.agents import DiscoverRequest, DiscoverView, PeersRequest, PeersView
from mcp_a2a.api.networks import NetworksRequest, NetworksView
from mcp_a2a.api.tasks import GetTaskRequest, ListTasksRequest, TaskPage
from mcp_a2a.errors.networks import RelayError
from mcp_a2a.errors.tasks import TaskNotFoundError
from mcp_a2a.node.networks.network_views import network_view
from mcp_a2a.node.runtime.handlers import LocalNode, answers
from mcp_a2a.protocol.naming import counterpart_of
from mcp_a2a.relay_ports import Relays
from mcp_a2a.store.journal import pending_outbox

if TYPE_CHECKING:
    from mcp_a2a.api.agents import AgentView
    from mcp_a2a.api.networks import NetworkView
    from mcp_a2a.api.tasks import TaskView
    from mcp_a2a.node.api import LocalApi
    from mcp_a2a.relay_ports import RelayState
    from mcp_a2a.store.database import Database
    from mcp_a2a.store.network_folder import NetworkFolder

UNASKED = "not asked: no process is running"


class RestingApi(LocalNode):
    """Answers the questions that only look, for an identity that does not run."""

    remembers = True

    def __init__(self, database: Database, api: LocalApi) -> None:
        super().__init__()
        self._database = database
        self._api = api

    @answers(DiscoverRequest)
    async def discover(self, _: DiscoverRequest) -> DiscoverView:
        """No lookup runs, so only the disk answers."""
        return DiscoverView(agents=(), total=0)

    @answers(ListTasksRequest)
    async def list_tasks(self, request: ListTasksRequest) -> TaskPage:
        """See `ListTasksRequest`."""
        return await self._api.tasks.page(request)

    @answers(GetTaskRequest)
    async def get_task(self, request: GetTaskRequest) -> TaskView:
        """See `GetTaskRequest`; the task as it is."""
        return self._api.tasks.remembered(request)

    @answers(PeersRequest)
    async def peers(self, _: PeersRequest) -> PeersView:
        """See `PeersRequest`."""
        known = self._api.known_agents.peers()
        rows = self._database.read(pending_outbox)
        waiting = Counter(row.peer for row in rows if row.type != "blob" and counterpart_of(row.peer) == "sealed")
        return known.model_copy(update={"peers": tuple(_unseen(peer, waiting[peer.did]) for peer in known.peers)})

    @answers(NetworksRequest)
    async def networks(self, _: NetworksRequest) -> NetworksView:
        """See `NetworksRequest`."""
        known = self._api.membership.all()
        return known.model_copy(update={"networks": tuple(map(_unasked, known.networks))})


class NothingYet(LocalNode):
    """The same for an identity that was never used: it has no tasks and knows no agent."""

    remembers = False

    def __init__(self, networks: NetworkFolder) -> None:
        super().__init__()
        self._networks = networks

    @answers(DiscoverRequest)
    async def discover(self, _: DiscoverRequest) -> DiscoverView:
        """No lookup runs, and the identity knows no agent."""
        return DiscoverView(agents=(), total=0)

    @answers(ListTasksRequest)
    async def list_tasks(self, _: ListTasksRequest) -> TaskPage:
        """No tasks."""
        return TaskPage(tasks=())

    @answers(GetTaskRequest)
    async def get_task(self, request: GetTaskRequest) -> TaskView:
        """None.

        Raises:
            TaskNotFoundError: always.
        """
        raise TaskNotFoundError(request.task_id)

    @answers(PeersRequest)
    async def peers(self, _: PeersRequest) -> PeersView:
        """No agents."""
        return PeersView(peers=(), contacts=())

    @answers(NetworksRequest)
    async def networks(self, _: NetworksRequest) -> NetworksView:
        """Those of the data folder, which every identity of it is in."""
        views = [_unasked(network_view(row, "", (), 0, 0)) for row in self._networks.rows()]
        return NetworksView(networks=tuple(views))


class NoRelays(Relays):
    """No relay is called."""

    def _nothing(self, *_: object, **__: object) -> None:
        pass

    async def _refused(self, url: str, *_: object, **__: object) -> NoReturn:
        raise RelayError(url, UNASKED)

    hear = keep = drop = probe = _nothing
    publish = offer = claim = find = admit = try_out = _refused

    @override
    def states(self) -> tuple[RelayState, ...]:
        return ()


def _unseen(agent: AgentView, waiting: int) -> AgentView:
    return agent.model_copy(update={"online": False, "route": None, "rtt_ms": None, "waiting": waiting})


def _unasked(network: NetworkView) -> NetworkView:
    relays = tuple(
        relay.model_copy(update={"connected": False, "detail": UNASKED, "rtt_ms": None}) for relay in network.relays
    )
    return network.model_copy(update={"relays": relays, "online": 0})

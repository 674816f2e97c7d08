"""The networks that this person is in: to look at, to keep and to leave.

A network lives in its members' databases; a relay only knows the key that its membership is proven with.
"""

from __future__ import annotations

import logging

import anyio

from mcp_a2a.api.networks import LeaveRequest, NetworksView, NetworkView
from mcp_a2a.errors.networks import NotAdmittedError, RelayError
from mcp_a2a.node.networks.network_views import network_view
from mcp_a2a.node.networks.networks import Joined, Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.store.network_folder import NetworkRow

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 3.0
"""Seconds that leaving waits for each relay."""


class Membership:
    """Keeps and leaves networks. `joining` joins others, `renewal` renews them."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        networks: Networks,
        publishing: Publishing,
        own_advert: OwnAdvert,
    ) -> None:
        self._context = context
        self._directory = directory
        self._networks = networks
        self._publishing = publishing
        self._own_advert = own_advert
        self.turn = anyio.Lock()
        """Two changes at once would start from the same network, and give it two new secrets, each with its members."""

    def all(self) -> NetworksView:
        """Every network of ours."""
        joined = sorted(self._networks, key=lambda one: one.row.name)
        return NetworksView(networks=tuple(self.view(one) for one in joined))

    def view(self, joined: Joined) -> NetworkView:
        """The view of one network."""
        believed = [peer_id for peer_id, expires in joined.members.items() if expires > self._context.clocks.aged()]
        known = [self._directory.known(peer_id) for peer_id in believed]
        online = sum(peer is not None and peer.online for peer in known)
        return network_view(joined.row, str(self._context.me), self._networks.relays.states(), len(believed), online)

    def save(self, row: NetworkRow) -> Joined:
        """Be a member from now on, or with other relays than before.

        Raises:
            HomeUnusableError: the data folder cannot be written.
        """
        self._networks.folder.save(row)
        self._networks.reload()
        return self._networks.named(row.id)

    def forget(self, joined: Joined) -> None:
        """Be no member any more, without telling others."""
        self._networks.folder.drop(joined.row.id)
        self._networks.reload()

    @answers(LeaveRequest)
    async def leave(self, request: LeaveRequest) -> NetworkView:
        """Withdraw our entry where that is possible, and forget the network.

        Raises:
            NetworkNotFoundError
        """
        async with self.turn:
            self._networks.reload()  # its owner may just have renewed it: what we leave is the network as it is now
            joined = self._networks.named(request.network)
            view = self.view(joined)
            with self._publishing.leaving(joined):
                await self.withdraw(joined)
                self.forget(joined)
            return view

    async def withdraw(self, joined: Joined) -> None:
        """Tell relays that we leave a network, as far as they can be reached now."""
        now = self._context.clock()
        number = self._own_advert.next_number()
        await self._own_advert.renew()  # a member that comes back says so with a higher number than the withdrawal's
        expires = int(now + MAX_LIFETIME_SECONDS)
        listing = Listing.withdrawal(self._context.identity, joined.network.id, number, expires)
        for url in joined.row.relays:
            with anyio.move_on_after(LEAVE_SECONDS):
                try:
                    await self._networks.relays.publish(url, listing)
                except RelayError as error:
                    logger.warning("our entry in %s stays until it expires: %s", joined.row.name, error)
        self._own_advert.greet_anew()  # last: until now a greeting may still have vouched for us

    async def admitted(self, network: Network, url: str) -> tuple[str, ...]:
        """Have a relay serve the members of a network; what to tell a person where it does not.

        It may let us in for another network, or for our own key, and shut out all the others. A closed relay that has
        admitted a network at our word admits the next, too.

        Raises:
            RelayError: it does not answer.
        """
        try:
            await self._networks.relays.admit(url, network, None)
        except NotAdmittedError:
            command = f"mcp-a2a relay admit {network.id}"
            return (f"{url} is a closed relay: its operator must run `{command}`, or the members cannot connect.",)
        return ()

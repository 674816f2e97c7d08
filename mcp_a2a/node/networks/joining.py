"""Joining a network with a ticket that a member has made (`inviting`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import anyio

from mcp_a2a.api.networks import JoinRequest, JoinView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.networks import RelayError, TicketError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.node.networks.inviting import check_room
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.networks import Joined, Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.networks.ticket_places import checked_places
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.own_advert import OwnAdvert
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.network import Network, invitation_id, open_invitation_untrusted
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a.store.network_folder import NetworkRow


@dataclass(eq=False)
class Joining:
    """Joins networks of others with their tickets."""

    context: Context
    directory: Directory
    trust: TrustBook
    networks: Networks
    publishing: Publishing
    membership: Membership
    own_advert: OwnAdvert
    dialer: Dialer

    @answers(JoinRequest)
    async def join(self, request: JoinRequest) -> JoinView:
        """Become a member.

        Raises:
            TicketError, RelayError, NetworkError
        """
        ticket = Ticket.parse_untrusted(request.ticket)
        ticket.check_expiry(self.context.clock())
        ticket = await checked_places(ticket, self._known_relays(), allow_private=request.allow_private)
        network = Network(ticket.secret) if ticket.secret is not None else await self._claim(ticket)
        await self.own_advert.renew()
        known = self.networks.by_id(network.id)
        if known is None:
            check_room(self.networks)
        joined = self.membership.save(self._row(ticket, network, known))
        try:
            await self._settle(joined, ticket, request.wait_seconds)
        except (RelayError, NoRouteError):
            if known is None:
                self.membership.forget(joined)
            raise
        inviter = self.directory.get(ticket.inviter)
        view = self.membership.view(joined)
        return JoinView(
            network=view,
            agents_visible=self._others(joined),
            invited_by=None if ticket.inviter == self.context.me else AgentRef(name=inviter.name, did=inviter.row.did),
            already_member=known is not None,
            warnings=tuple(self._oddities(joined, ticket, view.name, is_new=known is None)),
        )

    def _oddities(self, joined: Joined, ticket: Ticket, name: str, *, is_new: bool) -> Iterator[str]:
        """Warnings for a person that has just joined."""
        if is_new and joined.row.name != ticket.network:
            yield f"You are in another network {ticket.network!r} already, so this one is {name!r} here."
        is_there = joined.members.get(ticket.inviter, 0.0) > self.context.clocks.aged()
        if joined.row.relays and not is_there and ticket.inviter != self.context.me:
            yield (
                f"Who made this ticket is not listed in {name} any more. The network may have got a new secret since: "
                "if the agents that you expect are not there, ask for a new ticket."
            )

    def _others(self, joined: Joined) -> int:
        """Members that are not of this data folder."""
        known = map(self.directory.known, joined.members)
        return sum(peer is None or self.trust.of(peer) != "own" for peer in known)

    def _known_relays(self) -> frozenset[str]:
        """Those of networks that we are in: they are called anyhow."""
        return frozenset(url for joined in self.networks for url in joined.row.relays)

    async def _claim(self, ticket: Ticket) -> Network:
        """Fetch the secret that a limited ticket stands for."""
        token = ticket.token or b""
        failure: Exception | None = None
        for url in ticket.relays:
            try:
                sealed = await self.networks.relays.claim(url, invitation_id(token))
            except RelayError as error:
                failure = _with_place(error)
            else:
                return open_invitation_untrusted(token, sealed)
        raise failure or TicketError("it names no relay that could hand out its secret")

    def _row(self, ticket: Ticket, network: Network, known: Joined | None) -> NetworkRow:
        relays = tuple(str(parse_relay_url(url)) for url in ticket.relays)
        if known is not None:
            return replace(known.row, relays=tuple(dict.fromkeys((*known.row.relays, *relays))))
        return NetworkRow(
            str(network.id),
            self._free_name(ticket.network),
            network.secret.hex(),
            str(ticket.owner),
            relays,
            self.context.clock(),
        )

    def _free_name(self, name: str) -> str:
        taken = {joined.row.name.casefold() for joined in self.networks}
        return next(
            candidate
            for candidate in (name, *(f"{name}-{number}" for number in range(2, 1000)))
            if candidate.casefold() not in taken
        )

    async def _settle(self, joined: Joined, ticket: Ticket, seconds: float) -> None:
        """Wait for the first view of the members.

        Raises:
            RelayError: of the relays, none could be reached.
            NoRouteError: without relays, the inviter could not be.
        """
        if not joined.row.relays:
            await self._meet(joined, ticket, seconds)
            return
        await self.networks.wait_settled(seconds)
        reached = [url for url in joined.row.relays if self.networks.is_synced(joined, url)]
        for url in reached:
            await self.publishing.publish(joined, url)
        if not reached:
            url = joined.row.relays[0]
            reason = self.networks.failures.get(url, f"it did not answer within {seconds:.0f} s")
            raise _with_place(RelayError(url, reason))

    async def _meet(self, joined: Joined, ticket: Ticket, seconds: float) -> None:
        """Without a relay: dial the inviter, who is then known as a member by its voucher."""
        failures: list[str] = []
        with anyio.move_on_after(seconds):
            for address in ticket.addresses:
                try:
                    await self.dialer.dial_address(address)
                    failures.clear()
                    break
                except NoRouteError as error:
                    failures += [f"{address}: {attempt}" for attempt in error.attempts]
            self.own_advert.greet_all(self.directory)
            while ticket.inviter not in joined.members and not (failures and joined.members):
                await self.networks.changes.event().wait()
        if failures and not joined.members:
            raise NoRouteError(
                "The agent that made this ticket",
                failures,
                Remedy(
                    "Ask its owner to start an agent, a server or an assistant, to run mcp-a2a invite again while that "
                    "runs, and to send you the new ticket."
                ),
            )


def _with_place(error: RelayError) -> RelayError:
    """The same error, with the reason that is most likely where an address means another machine here than there."""
    relay = parse_relay_url(error.url)
    if not relay.is_private:
        return error
    place = "the machine that made the ticket" if relay.is_loopback else "the private network of who made the ticket"
    return RelayError(
        error.url,
        f"{error.reason}; {relay.host} is an address of {place}",
        "If this machine is elsewhere, ask for a ticket with an address of the relay that can be reached from here.",
    )

"""Inviting others into our networks: tickets.

An open ticket carries the network's secret. A limited one (so many uses, until then) carries a token instead, and
the secret waits, sealed with it, at a relay that counts: so its limits hold also for other software.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import anyio

from mcp_a2a.api.networks import InviteRequest, InviteView
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.networks import NetworkError, NetworkNotFoundError, NoRelayError, NotAdmittedError, RelayError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.networks import MAX_NETWORKS, Joined, Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.lookups import Lookups
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.protocol.crypto import AEAD_NONCE_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.network import SECRET_SIZE, TOKEN_SIZE, Network, invitation_id, seal_invitation
from mcp_a2a.protocol.payload import MAX_RELAYS
from mcp_a2a.protocol.relay_url import parse_relay_url
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.ticket import Ticket
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.network_folder import NetworkRow, note_relay

INVITATION_SECONDS = 86_400.0
"""Life of a ticket with a number of uses, unless the request names another."""

MANY_USES = 1000
"""Uses of a ticket that only has an end."""


@dataclass(eq=False)
class Inviting:
    """Makes tickets for our networks."""

    context: Context
    networks: Networks
    publishing: Publishing
    membership: Membership
    lookups: Lookups
    _making: anyio.Lock = field(default_factory=anyio.Lock)
    """Two invitations at once to a network that does not exist yet would make two of that name."""

    @answers(InviteRequest)
    async def invite(self, request: InviteRequest) -> InviteView:
        """A ticket; the network is made when there is none of that name.

        Raises:
            RelayError, NetworkError, ConfigurationError
        """
        async with self._making:
            joined = await self._prepare(request)
        for url in joined.row.relays:
            if parse_relay_url(url).is_loopback:
                note_relay(url)
        not_served: list[str] = []
        for url in joined.row.relays:
            must = url in self._canonical(request)
            await self._publish(joined, url, must=must)
            not_served += await self.membership.admitted(joined.network, url) if must else ()
        if _is_open(request):
            ticket = self._ticket(joined, self._canonical(request), secret=joined.network.secret)
        else:
            ticket = await self._limited(joined, request)
        return InviteView(
            ticket=ticket.to_text(),
            network=self.membership.view(joined),
            uses=request.uses,
            expires=iso(ticket.expires) if ticket.expires is not None else None,
            warnings=(*not_served, *self._warnings(ticket)),
        )

    def _canonical(self, request: InviteRequest) -> tuple[str, ...]:
        return tuple(str(parse_relay_url(text)) for text in request.relays)

    async def _prepare(self, request: InviteRequest) -> Joined:
        """The network, with the relays that were named."""
        name = preview(request.network, 64).strip()
        if not name:
            raise ConfigurationError("A network needs a name.", Remedy("For example: mcp-a2a invite --network shop"))
        try:
            row, is_new = self.networks.named(name).row, False
        except NetworkNotFoundError:
            check_room(self.networks)
            row, is_new = self._made(name), True
        fresh = [url for url in self._canonical(request) if url not in row.relays]
        if not (row.relays or fresh) and not _is_open(request):
            raise NoRelayError(row.name)
        network = Network(bytes.fromhex(row.secret))
        secrets = {str(url): url.admission for url in map(parse_relay_url, request.relays)}
        for url in self._canonical(request):
            if url in fresh or secrets[url] is not None:
                await self._enter(url, network, secrets[url])
        if not is_new:
            row = self._latest(row)
        return self.membership.save(replace(row, relays=tuple(dict.fromkeys((*row.relays, *fresh)))))

    def _made(self, name: str) -> NetworkRow:
        """A new network of ours, which is kept nowhere yet."""
        secret = self.context.randomness(SECRET_SIZE)
        return NetworkRow(str(Network(secret).id), name, secret.hex(), str(self.context.me), (), self.context.clock())

    def _latest(self, row: NetworkRow) -> NetworkRow:
        """A network as the data folder has it now: it may have changed while a relay was asked.

        Raises:
            NetworkError: we are no longer in it, and must not come back by saving it.
        """
        latest = next((one for one in self.networks.folder.rows() if one.id == row.id), None)
        if latest is None and not self.networks.folder.holds(row.id):
            raise NetworkError(
                f"{row.name} was left or renewed meanwhile, so no ticket was made.",
                Remedy("See your networks: mcp-a2a networks"),
            )
        return latest or row  # which cannot be read now, where its file is there

    async def _enter(self, url: str, network: Network, secret: bytes | None) -> None:
        """See that a relay answers, and have it admit the network. The secret is kept nowhere.

        Raises:
            NotAdmittedError: it does not accept the secret.
            RelayError: it does not answer.
        """
        if secret is not None:
            await self.networks.relays.admit(url, network, secret)
            return
        try:
            await self.networks.relays.try_out(url)
        except NotAdmittedError:
            # It is there. Without a secret it may know our key, or its operator admits the network by its id later.
            with suppress(NotAdmittedError):
                await self.networks.relays.admit(url, network, None)

    async def _publish(self, joined: Joined, url: str, *, must: bool) -> None:
        try:
            await self.publishing.publish(joined, url)
        except NotAdmittedError as error:
            raise NotAdmittedError(
                url,
                error.reason,
                Remedy(
                    "Ask its operator for its URL with an admission secret (mcp-a2a relay url --new), or to run: "
                    "mcp-a2a relay admit {network}   Then run this again.",
                    network=joined.row.id,
                ),
            ) from error
        except RelayError:
            if must:
                raise

    def _ticket(
        self,
        joined: Joined,
        first: Sequence[str],
        *,
        secret: bytes | None = None,
        token: bytes | None = None,
        expires: int | None = None,
    ) -> Ticket:
        # A listener's port may be another one tomorrow; a relay stays where it is.
        here = () if joined.row.relays else self.lookups.own_addresses
        addresses = tuple(str(address) for address in here if not address.is_zoned)
        return Ticket(
            network=joined.row.name,
            owner=PeerId.parse_untrusted(joined.row.owner),
            inviter=self.context.me,
            relays=tuple(dict.fromkeys((*first, *joined.row.relays)))[:MAX_RELAYS],
            addresses=addresses[:8],
            secret=secret,
            token=token,
            expires=expires,
        )

    async def _limited(self, joined: Joined, request: InviteRequest) -> Ticket:
        token = self.context.randomness(TOKEN_SIZE)
        expires = int(self.context.clock() + (request.expires_seconds or INVITATION_SECONDS))
        sealed = seal_invitation(joined.network, token, self.context.randomness(AEAD_NONCE_SIZE))
        counting = self._counting(joined, request)
        await self.networks.relays.offer(
            counting,
            joined.network.id,
            invitation_id(token),
            sealed,
            request.uses or MANY_USES,
            expires,
        )
        # It comes first in the ticket: any other relay would answer that it does not know the invitation.
        return self._ticket(joined, (counting,), token=token, expires=expires)

    def _counting(self, joined: Joined, request: InviteRequest) -> str:
        """The relay that keeps the secret and counts; one only, because two would count apart."""
        connected = self.networks.connected_relays()
        relays = (*self._canonical(request), *joined.row.relays)
        return next((url for url in relays if url in connected), relays[0])

    def _warnings(self, ticket: Ticket) -> tuple[str, ...]:
        relays = [parse_relay_url(url) for url in ticket.relays]
        warnings = [warning for relay in relays if (warning := relay.warning) is not None]
        warnings += [
            f"{relay.host} is an address of {'this machine' if relay.is_loopback else 'a private network'}: "
            f"only {'agents on it' if relay.is_loopback else 'machines there'} can use this ticket."
            for relay in relays
            if relay.is_private
        ]
        if not relays:
            warnings.append(
                "This ticket names no relay: it works for agents on this LAN, while a program of yours runs (an agent, "
                "a server or an assistant)."
            )
        return tuple(warnings)


def check_room(networks: Networks) -> None:
    """Refuse one network more than a data folder may be in.

    Raises:
        NetworkError: there are `MAX_NETWORKS`.
    """
    if len(list(networks)) >= MAX_NETWORKS:
        raise NetworkError(
            f"You are in {MAX_NETWORKS} networks, which is the limit.", Remedy("Leave one: mcp-a2a leave NAME")
        )


def _is_open(request: InviteRequest) -> bool:
    """True if the ticket admits every holder, at any time."""
    return request.uses is None and request.expires_seconds is None

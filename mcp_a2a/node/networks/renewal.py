"""A new secret for a network: its owner hands it to the members that stay.

The owner made the network, and is the only member whose new secret the others take.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import anyio

from mcp_a2a.api.networks import RotateRequest, RotateView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import ConfigurationError, HomeUnusableError, StorageFullError, SystemLimitError
from mcp_a2a.errors.networks import NetworkError, NotOwnerError, RelayError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.node.delivery.letters import network_letter
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.networks.membership import Membership
from mcp_a2a.node.networks.networks import Joined, Networks
from mcp_a2a.node.networks.publishing import Publishing
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context, delivery_of
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.plurals import many
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.forbidden_addresses import is_no_place, is_this_machine
from mcp_a2a.protocol.network import SECRET_SIZE, Network
from mcp_a2a.protocol.payload import MAX_RELAYS, NetworkBody
from mcp_a2a.protocol.relay_url import RelayUrl, parse_relay_url
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.strict_json import base64url_untrusted, to_base64url
from mcp_a2a.store.journal import OutboxRow, put_outbox
from mcp_a2a.store.network_folder import NetworkRow
from mcp_a2a.store.networks import MemberRow, save_member

logger = logging.getLogger(__name__)

HAND_OVER_SECONDS = 15.0
"""Seconds that a renewal waits for its messages to be taken."""

SETTLE_SECONDS = 10.0
"""Seconds that a renewal waits for the relays' lists of members."""

UNKNOWN_RETRY_SECONDS = 30.0
"""Seconds after which the new secret of an unknown network is offered again."""


class Renewal:
    """Renews networks of ours, and follows the owners of those that we are in."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        networks: Networks,
        publishing: Publishing,
        membership: Membership,
        outbox: Outbox,
    ) -> None:
        self._context = context
        self._directory = directory
        self._networks = networks
        self._publishing = publishing
        self._membership = membership
        self._outbox = outbox

    @answers(RotateRequest)
    async def rotate(self, request: RotateRequest) -> RotateView:
        """Give a network of ours a new secret, and hand it to the members that stay.

        Raises:
            NetworkNotFoundError, NetworkError, PeerNotFoundError, AmbiguousNameError
        """
        async with self._membership.turn:
            return await self._rotate(request)

    async def _rotate(self, request: RotateRequest) -> RotateView:
        old = self._networks.named(request.network)
        if old.row.owner != str(self._context.me):
            raise NotOwnerError(old.row.name, old.row.owner)
        unheard = await self._hear_of_all(old)
        left_out = [self._directory.resolve(name) for name in request.without]
        strangers = [peer.name for peer in left_out if peer.peer_id not in old.members]
        if strangers:
            raise NetworkError(
                f"Not in {old.row.name}: {', '.join(strangers)}.", Remedy("See who is: mcp-a2a discover")
            )
        without = {peer.peer_id for peer in left_out}
        stay = [peer_id for peer_id in old.members if peer_id not in without]
        if request.check_only:
            return self._rotated(old, stay, left_out, warnings=unheard)
        network = Network(self._context.randomness(SECRET_SIZE))
        unserved = await self._admit(network, old.row.relays)  # a closed relay lets us in for the old one until then
        with self._publishing.leaving(old):
            await self._membership.withdraw(old)  # while we can still prove to be in it
            new, letters = await self._replace(old, network, stay)
        await self._announce(new, unserved)
        untold = await self._off_our_hands(letters)
        warnings = (*unheard, *unserved.values(), *untold)
        return self._rotated(new, stay, left_out, told=len(letters), warnings=warnings)

    def _rotated(
        self,
        joined: Joined,
        stay: Sequence[PeerId],
        left_out: Sequence[Peer],
        told: int = 0,
        *,
        warnings: tuple[str, ...],
    ) -> RotateView:
        return RotateView(
            network=self._membership.view(joined),
            told=told,
            stay=tuple(_ref(self._directory.get(peer_id)) for peer_id in stay),
            left_out=tuple(map(_ref, left_out)),
            warnings=warnings,
        )

    async def _hear_of_all(self, joined: Joined) -> tuple[str, ...]:
        """Wait for what the relays know: a member that is not heard of would be left behind."""
        await self._networks.wait_settled(SETTLE_SECONDS)
        return tuple(
            f"{url} could not be asked who is in the network: members that only it knows need a new ticket."
            for url in joined.row.relays
            if not self._networks.is_synced(joined, url)
        )

    async def _replace(self, old: Joined, network: Network, stay: Sequence[PeerId]) -> tuple[Joined, list[OutboxRow]]:
        now = self._context.clock()
        relays = self._in_a_letter(old.row.relays)
        row = replace(old.row, id=str(network.id), secret=network.secret.hex(), relays=relays)
        body = NetworkBody(previous=old.network.id, secret=to_base64url(network.secret), relays=relays)
        letters = [network_letter(self._context, peer_id, body, now) for peer_id in stay]
        expires, relay = now + MAX_LIFETIME_SECONDS, next(iter(row.relays), None)
        members = [MemberRow(row.id, str(peer_id), relay, expires) for peer_id in stay]
        with anyio.CancelScope(shield=True):
            # In this order a crash leaves us in both networks, and never outside of the one that the others go to. Who
            # is told is noted at once: the next renewal must reach those, too, who have not heard of this one.
            self._networks.folder.save(row)
            try:
                await self._context.database.write(partial(_put_letters, letters=letters, members=members))
            except McpA2AError:
                self._networks.folder.drop(row.id)  # no member will hear of it
                raise
            self._membership.forget(old)
        new = self._networks.named(row.id)
        for peer_id in stay:
            self._networks.expect(new, peer_id, expires)
        for letter in letters:
            self._outbox.push(letter)
        return new, letters

    def _in_a_letter(self, relays: Sequence[str]) -> tuple[str, ...]:
        """Those that a letter has room for: of too many, first the ones that are there."""
        if len(relays) <= MAX_RELAYS:
            return tuple(relays)
        connected = self._networks.connected_relays()
        return tuple(sorted(relays, key=lambda url: url not in connected)[:MAX_RELAYS])

    async def _admit(self, network: Network, urls: Sequence[str]) -> dict[str, str]:
        """Have the relays serve a network; what to tell a person of each that will not."""
        unserved: dict[str, str] = {}
        for url in urls:
            try:
                for warning in await self._membership.admitted(network, url):
                    unserved[url] = warning
            except RelayError as error:
                unserved[url] = str(error)
        return unserved

    async def _announce(self, joined: Joined, unserved: dict[str, str]) -> None:
        for url in joined.row.relays:
            try:
                await self._publishing.publish(joined, url)
            except RelayError as error:
                unserved.setdefault(url, str(error))

    async def _off_our_hands(self, letters: Sequence[OutboxRow]) -> tuple[str, ...]:
        """A command that ends here would otherwise keep the news to itself until the next one runs."""
        with anyio.move_on_after(HAND_OVER_SECONDS):
            while True:
                changed = self._context.task_changes.event(delivery_of(""))
                if all(self._outbox.settled(letter.id) for letter in letters):
                    return ()
                await changed.wait()
        untold = sum(not self._outbox.settled(letter.id) for letter in letters)
        return (
            f"{untold} of {many(len(letters), 'member')} could not be told yet. It goes on while mcp-a2a runs here.",
        )

    def renewed(self, sender: PeerId, body: NetworkBody, done: Callable[[object], None]) -> None:
        """The owner of a network has given it a new secret.

        Carriers may bring several of these in any order, and quickly: the folder says which networks are ours by now.
        One that follows on a network that we do not know is put off, because that one may be on its way.
        """
        if all(joined.row.owner != str(sender) for joined in self._networks):
            logger.warning("%s is the owner of no network of ours, so its new secret is ignored", sender)
            done(None)
            return
        rows = {row.id: row for row in self._networks.folder.rows()}
        old = rows.get(str(body.previous))
        if old is not None and old.owner != str(sender):
            logger.warning("%s is not the owner of %s, so its new secret is ignored", sender, old.name)
            done(None)
            return
        if old is not None and self._publishing.is_leaving(body.previous):
            done(Refusal("busy", UNKNOWN_RETRY_SECONDS))  # we leave it this moment, and must not come back by this
            return
        try:
            row = _renewed_row(old, body) if old is not None else None
            is_known = str(Network(_secret_untrusted(body)).id) in rows
        except (RemoteProtocolError, ConfigurationError) as error:
            logger.warning("a new secret of a network, or a relay of it, is not usable: %s", error)
            done(None)
            return
        if old is None or row is None:
            done(None if is_known else Refusal("busy", UNKNOWN_RETRY_SECONDS))
            return

        try:
            self._networks.folder.save(row)
            self._networks.folder.drop(old.id)
        except (HomeUnusableError, StorageFullError, SystemLimitError) as error:
            done(error)  # the owner sends it again
            return
        self._context.tasks.start_soon(self._move, self._networks.by_id(body.previous), sender)
        done(None)

    async def _move(self, old: Joined | None, owner: PeerId) -> None:
        """Go from the network as it was to the one that took its place, where the folder is already.

        A process that is stopped in between is only missing from the new one's directory until the next start.
        """
        if old is not None:
            with self._publishing.leaving(old):
                try:
                    await self._membership.withdraw(old)
                except McpA2AError as error:
                    logger.warning("our entry in %s stays until it expires: %s", old.row.name, error)
                self._networks.reload()
        else:
            self._networks.reload()
        for joined in self._networks:
            if joined.row.owner == str(owner):
                self._networks.expect(joined, owner, self._context.clock() + MAX_LIFETIME_SECONDS)


def _ref(peer: Peer) -> AgentRef:
    return AgentRef(name=peer.name, did=peer.row.did)


def _secret_untrusted(body: NetworkBody) -> bytes:
    secret = base64url_untrusted(body.secret)
    if len(secret) != SECRET_SIZE:
        raise RemoteProtocolError("The secret of a network has 32 bytes.")
    return secret


def _renewed_row(old: NetworkRow, body: NetworkBody) -> NetworkRow:
    secret = _secret_untrusted(body)
    # A relay that was there before was looked at when we joined. Another one must not make this machine call itself.
    urls = [parse_relay_url(text) for text in body.relays]
    relays = tuple(str(url) for url in urls if str(url) in old.relays or not _is_here_or_nowhere(url))
    return replace(old, id=str(Network(secret).id), secret=secret.hex(), relays=relays)


def _is_here_or_nowhere(url: RelayUrl) -> bool:
    return url.is_loopback or is_this_machine(url.host) or is_no_place(url.host)


def _put_letters(connection: sqlite3.Connection, letters: Sequence[OutboxRow], members: Sequence[MemberRow]) -> None:
    for letter in letters:
        put_outbox(connection, letter)
    for member in members:
        save_member(connection, member)

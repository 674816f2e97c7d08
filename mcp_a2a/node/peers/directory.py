"""The merged view of all lookups and links: who is known, where, under which name, and whether it is there now.

A name is a label. What is looked up by name must be the only one of that name, and where a person has paired a name
with a key, another key behind that name is a hard stop.
"""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from mcp_a2a.errors.agents import AmbiguousNameError, KeyChangedError, PeerNotFoundError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.trust import TrustBook
from mcp_a2a.node.runtime.context import Change, Changes
from mcp_a2a.ports import Link, Sighting
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.naming import key_beginning, kind_of_agent, same_name, shown_name, skeleton
from mcp_a2a.store.aliases import Aliases
from mcp_a2a.store.database import Database
from mcp_a2a.store.journal import PeerRow, forget_strangers, save_peer

MAX_PEERS = 2_048
"""Peers kept in memory. The strangers seen longest ago make room."""


class Directory:
    """All agents known to this node by key, except its own."""

    def __init__(self, me: PeerId, trust: TrustBook, aliases: Aliases) -> None:
        self._me = me
        self._trust = trust
        self.aliases = aliases
        """The person's names for others; they win over every name that an agent claims."""
        self._peers: dict[PeerId, Peer] = {}
        self._names: list[str] | None = None
        """The names that `_alike` was made of."""
        self._alike: dict[str, list[Peer]] = {}
        """By what all names that look like it have in common."""
        self.on_attended: Callable[[Peer], None] = lambda _: None
        """Called when a relay has said whether a peer is connected to it."""
        self.changes = Changes()
        """Notified (with no key) whenever the view changed."""

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def load(self, rows: Iterable[PeerRow], now: float) -> None:
        """Start from what was remembered."""
        for row in rows:
            peer = Peer(PeerId.parse_untrusted(row.did), row)
            self._peers[peer.peer_id], self._names = peer, None
            if row.advert is None:
                continue
            try:
                peer.advert = Advert.parse_untrusted(row.advert)
            except RemoteProtocolError:
                # Written by a version with other rules: it will introduce itself again. What a person decided stays.
                row.advert = None
                continue
            if peer.advert.bundle.usable(now):
                peer.bundle = peer.advert.bundle

    def get(self, peer_id: PeerId) -> Peer:
        """The entry of this key, made when it is new."""
        peer = self._peers.get(peer_id)
        if peer is None:
            self._make_room()
            peer = self._peers[peer_id] = Peer(peer_id, PeerRow(str(peer_id), ""))
            self._names = None
        return peer

    def known(self, peer_id: PeerId) -> Peer | None:
        """The entry of this key, if there is one."""
        return self._peers.get(peer_id)

    def alike(self, asked: str) -> Sequence[Peer]:
        """Agents whose name is that, or looks like it."""
        names = [peer.row.name for peer in self._peers.values()]
        if names != self._names:
            self._names, self._alike = names, {}
            for peer in self._peers.values():
                self._alike.setdefault(skeleton(peer.name), []).append(peer)
        return self._alike.get(skeleton(asked), ())

    def with_did(self, did: str) -> Peer | None:
        """The entry of the key that a text names, if the text is a did and there is one."""
        try:
            return self._peers.get(PeerId.parse_untrusted(did))
        except RemoteProtocolError:
            return None

    def _make_room(self) -> None:
        if len(self._peers) < MAX_PEERS:
            return
        idle = [
            peer
            for peer in self
            if not (peer.links or peer.sightings or peer.row.addresses) and self._trust.of(peer) == "stranger"
        ]
        if idle:
            oldest = min(idle, key=lambda peer: peer.row.last_seen or 0)
            del self._peers[oldest.peer_id]

    # --- what lookups and links report -----------------------------------------------------------

    def sighted(self, sighting: Sighting) -> Peer | None:
        """A lookup saw a peer; None for ourselves."""
        if sighting.peer == self._me:
            return None
        peer = self.get(sighting.peer)
        if peer.sightings.get(sighting.provenance) != sighting:
            peer.upgrade_at = 0.0  # there may be a better way to it than before
        peer.sightings[sighting.provenance] = sighting
        self._changed(peer)
        return peer

    def attended(self, peer: Peer, url: str, *, present: bool, now: float) -> None:
        """A relay says that a peer is connected to it, or no longer is."""
        if present == (url in peer.attends):
            return
        (peer.attends.add if present else peer.attends.discard)(url)
        peer.row.last_seen = now
        self._changed(peer)
        self.on_attended(peer)

    def lost(self, peer_id: PeerId, provenance: str) -> None:
        """A lookup no longer sees a peer."""
        peer = self._peers.get(peer_id)
        if peer is not None and peer.sightings.pop(provenance, None) is not None:
            self._changed(peer)

    def link_opened(self, link: Link, now: float) -> Peer:
        """A link to a peer is up."""
        peer = self.get(link.peer)
        peer.links.append(link)
        peer.learn_bundle(link.bundle)
        if not link.is_relayed:
            peer.row.last_seen = now
        self._changed(peer)
        return peer

    def link_closed(self, link: Link, now: float, *, goodbye: bool) -> Peer:
        """A link is gone; a peer that said goodbye is also no longer where the lookups saw it."""
        peer = self.get(link.peer)
        if link in peer.links:
            peer.links.remove(link)
            if not link.is_relayed:
                peer.row.last_seen = now
        if goodbye:
            # Where a relay lists it, its mailbox still is.
            peer.sightings = {name: seen for name, seen in peer.sightings.items() if name.startswith("relay ")}
        self._changed(peer)
        return peer

    def advert_received(self, advert: Advert) -> Peer | None:
        """A peer described itself; None when we knew that or something newer."""
        peer = self.get(advert.peer)
        if peer.advert is not None and advert.seq <= peer.advert.seq:
            return None
        peer.advert = advert
        peer.learn_bundle(advert.bundle)
        peer.row.name = shown_name(advert.card.name)
        if peer.row.trust == "trusted" and not peer.row.paired:
            peer.row.paired = peer.row.name
        peer.row.advert = advert.to_text()
        self._changed(peer)
        return peer

    def _changed(self, peer: Peer) -> None:
        """Wake those who wait for any change, and those who wait for one of this peer."""
        self.changes.notify()
        self.changes.notify(peer.row.did)

    def change_of(self, peer: Peer) -> Change:
        """The event of the next change of this peer. Among many peers most changes are those of others."""
        return self.changes.event(peer.row.did)

    def remember(self, database: Database, peer: Peer) -> None:
        """Keep what is known of a peer. Losing this to a crash costs one greeting."""
        row = replace(peer.row)

        def remember(connection: sqlite3.Connection) -> None:
            save_peer(connection, row)
            forget_strangers(connection, MAX_PEERS)

        database.enqueue_lazily(remember)

    # --- who is meant ----------------------------------------------------------------------------

    def resolve(self, asked: str) -> Peer:
        """The one agent with this alias, name or PeerId.

        Names match without regard to case. A name that merely looks alike never matches, and is never overlooked.

        Raises:
            PeerNotFoundError: none; names the closest.
            AmbiguousNameError: several; a name is no identity.
            KeyChangedError: the name was paired with another key.
            AliasAlikeError: the text only looks like an alias.
        """
        return self.named(self.aliases.meant(asked))

    def named(self, asked: str) -> Peer:
        """The same for a text that is no alias."""
        if kind_of_agent(asked) != "name":
            return self._by_did(asked)
        alike = self.alike(asked)
        if len(alike) == 1 and same_name(alike[0].name, asked):
            return alike[0]  # no other agent is called so
        named = [peer for peer in alike if same_name(peer.name, asked)]
        if not named:
            raise self._not_found(asked)
        paired = [peer for peer in alike if self._is_paired(peer)]
        others = [
            peer
            for peer in alike
            if self._may_be_meant(peer) and (self._trust.of(peer) in ("stranger", "member") or _has_renamed(peer))
        ]
        # Among those that a person has put here, only the same name is meant; a look-alike of others counts as well.
        present = [peer for peer in (alike if others else named) if self._may_be_meant(peer)]
        candidates = present or [peer for peer in named if peer in paired] or named
        intruder = next((peer for peer in (*others, *candidates) if not self._is_ours(peer)), None)
        if paired and intruder is not None:
            raise KeyChangedError(asked, paired[0].row.did, intruder.row.did)
        if len(candidates) > 1 or candidates[0] not in named:
            listed = dict.fromkeys((*candidates, *named))
            raise AmbiguousNameError(asked, [(peer.row.did, peer.words) for peer in listed])
        return candidates[0]

    @staticmethod
    def _may_be_meant(peer: Peer) -> bool:
        """True if it is there, or is about to be."""
        return bool(peer.links or peer.sightings)

    def _is_ours(self, peer: Peer) -> bool:
        """True if a person has put it here, or it is another identity of this data folder."""
        return self._is_paired(peer) or self._trust.of(peer) == "own"

    @staticmethod
    def _is_paired(peer: Peer) -> bool:
        """True if a person trusted it by the name that it has now."""
        return peer.row.trust == "trusted" and not _has_renamed(peer)

    def _by_did(self, asked: str) -> Peer:
        beginning = key_beginning(asked)
        peer = self.with_did(beginning or asked)
        if peer is not None:
            return peer
        alike = [peer for peer in self if peer.row.did.startswith(beginning)] if beginning else []
        if len(alike) > 1:
            raise AmbiguousNameError(asked, [(peer.row.did, peer.words) for peer in alike])
        if not alike:
            raise self._not_found(asked)
        return alike[0]

    def _not_found(self, asked: str) -> PeerNotFoundError:
        names = [peer.name for peer in self if peer.name]
        called = dict.fromkeys((*self.aliases.all(), *names))
        return PeerNotFoundError(asked, difflib.get_close_matches(asked, called, n=3, cutoff=0.5), len(names))

    def present(self) -> list[Peer]:
        """Agents that are there now, and that described themselves."""
        return [peer for peer in self if peer.online and peer.advert is not None]


def _has_renamed(peer: Peer) -> bool:
    """True if a trusted agent has changed its name since: it may have taken that of another trusted agent."""
    known = peer.row.paired
    return peer.row.trust == "trusted" and bool(known) and not same_name(known, peer.name)

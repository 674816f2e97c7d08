"""The advert of a node, sealed for each peer that a link is opened with, and for its networks.

A greeting tells who we are and, by vouchers that mean something to members only, which networks we are in. An entry
in a network's directory also tells where we listen: only members read it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from pydantic import ValidationError

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.protocol import RemoteProtocolError
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.ports import Link
from mcp_a2a.protocol.advert import MAX_ADVERT_BYTES, Advert
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.network import VOUCHER_SIZE
from mcp_a2a.protocol.payload import AdvertBody, Payload
from mcp_a2a.protocol.receipt import postmark_of
from mcp_a2a.protocol.replay import MAX_LIFETIME_SECONDS
from mcp_a2a.protocol.strict_json import to_base64url
from mcp_a2a.store.database import Database
from mcp_a2a.store.journal import get_meta, set_meta

logger = logging.getLogger(__name__)

ADVERT_SECONDS = 600.0
"""An advert message is for this link only; it is not journalled."""

VOUCHERS_MULTIPLE = 4
"""Vouchers are filled up to a multiple of this, so that a stranger cannot count our networks."""

CARD_BYTES = MAX_ADVERT_BYTES - 8 * 1024
"""Of our card in an advert; the rest is for our key, our addresses and the signature."""

ENTRY = "entry"
"""Under this name the newest entry is remembered."""

CARD = "card"
"""Under this name the card is remembered that the own process of an identity showed last."""


def keep_card(database: Database, card: AgentCard) -> None:
    """Remember our card for a process that stands in for us."""
    text = card.to_json()
    if database.read(lambda connection: get_meta(connection, CARD)) != text:
        database.enqueue_lazily(lambda connection: set_meta(connection, CARD, text))


def kept_card(database: Database) -> AgentCard | None:
    """The card that was remembered, if it can still be read."""
    kept = database.read(lambda connection: get_meta(connection, CARD))
    try:
        return AgentCard.model_validate_json(kept) if kept else None
    except ValidationError:
        return None  # written by a version with other rules


def fitting(card: AgentCard) -> AgentCard:
    """The card, or as much of it as an advert holds: without the schemas of skills, then without the last skills."""
    if _size(card) <= CARD_BYTES:
        return card
    skills = tuple(skill.model_copy(update={"input_schema": None}) for skill in card.skills)
    shown = card.model_copy(update={"skills": skills})
    while shown.skills and _size(shown) > CARD_BYTES:
        shown = shown.model_copy(update={"skills": shown.skills[: len(shown.skills) * 7 // 8]})
    logger.warning(
        "the card of %s is too long for other agents: they see %d of its %d skills, and no schemas",
        card.name,
        len(shown.skills),
        len(skills),
    )
    return shown


def _size(card: AgentCard) -> int:
    return len(card.to_json().encode())


class OwnAdvert:
    """Signs our advert and sends it in greetings. A changed card makes an advert with a higher sequence number."""

    def __init__(self, context: Context, ring: KeyRing, card: AgentCard) -> None:
        self._context = context
        self._ring = ring
        self.card = card
        self._fitted = card, fitting(card)
        # Milliseconds since the epoch rise over restarts, and also when the database was lost.
        self._seq = int(context.started_at * 1000)
        self._advert: Advert | None = None
        self._entry = self._remembered()
        self.addresses: tuple[str, ...] = self._entry.addresses if self._entry else ()
        """Our listening addresses, as members of our networks get them."""
        self.run = ""
        self.met: Callable[[PeerId], Sequence[str]] = lambda _: ()
        """The name of this run, and those of a peer that we have met, if there are several (`duplicate_keys`)."""
        self.vouch: Callable[[PeerId], Sequence[bytes]] = lambda _: ()
        """Our vouchers for a peer."""

    def advert(self) -> Advert:
        """Our current advert."""
        if self._advert is None or not self._says_what_is_so(self._advert, ()):
            self._advert = self._sign(())
        return self._advert

    def _shown(self) -> AgentCard:
        """Our card as an advert has it."""
        if self._fitted[0] is not self.card:
            self._fitted = self.card, fitting(self.card)
        return self._fitted[1]

    def _says_what_is_so(self, advert: Advert, addresses: tuple[str, ...]) -> bool:
        """True if an advert that was signed before can be shown now. One of a clock that was ahead cannot."""
        is_young = MAX_LIFETIME_SECONDS / 2 <= advert.expires - self._context.clock() <= MAX_LIFETIME_SECONDS
        same = (advert.card, advert.addresses, advert.bundle) == (self._shown(), addresses, self._ring.current)
        return is_young and same

    def entry(self) -> Advert:
        """Our entry in the directories of our networks.

        The one that was made last, also by an earlier process, while it still says what is so: a command that runs
        for a second need not bother every member.
        """
        entry = self._entry
        if entry is None or not self._says_what_is_so(entry, self.addresses):
            entry = self._entry = self._sign(self.addresses)
            kept = entry.to_text()
            self._context.database.enqueue_lazily(lambda connection: set_meta(connection, ENTRY, kept))
        return entry

    def next_number(self) -> int:
        """A sequence number above that of every advert of ours."""
        self._seq += 1
        return self._seq

    async def count_from(self, number: int) -> None:
        """Give later adverts numbers above this one."""
        self._seq = max(self._seq, number)
        self.greet_anew()
        await self.renew()

    def greet_anew(self) -> None:
        """The next greeting gets a new number, whether or not anything has changed."""
        self._advert = None

    async def renew(self) -> None:
        """The next entry gets a new number, whether or not anything has changed; also after a crash."""
        self._entry = None
        await self._context.database.write(lambda connection: set_meta(connection, ENTRY, ""))

    def _remembered(self) -> Advert | None:
        kept = self._context.database.read(lambda connection: get_meta(connection, ENTRY))
        try:
            entry = Advert.parse_untrusted(kept) if kept else None
        except RemoteProtocolError:
            return None  # written by a version with other rules
        return entry if entry is not None and entry.peer == self._context.me else None

    def _sign(self, addresses: tuple[str, ...]) -> Advert:
        number = self.next_number()
        expires = int(self._context.clock() + MAX_LIFETIME_SECONDS)
        return Advert.sign(
            self._context.identity, self._shown(), self._ring.current, addresses, seq=number, expires=expires
        )

    def greet(self, link: Link) -> None:
        """Send our advert over a fresh link. Not journalled: the next link brings it again."""
        try:
            link.submit(self.greeting(link)[0])
        except LinkError:
            return  # closed again already; the next link is greeted too

    def greet_on(self, links: Iterable[Link]) -> None:
        """Send our greeting again to an agent that has become welcome: it then releases what it held back for us."""
        for link in list(links):
            self.greet(link)

    def greet_all(self, peers: Iterable[Peer]) -> None:
        """Tell each peer with a direct link who we are now."""
        for peer in peers:
            self.greet_on(link for link in peer.links if not link.is_relayed)

    def greeting(self, link: Link) -> tuple[bytes, bytes]:
        """Our advert, sealed for the peer of a link; and what that peer has to sign when it has it (`receipt`)."""
        now = self._context.clock()
        vouchers = self._padded(self.vouch(link.peer))
        body = AdvertBody(
            advert=self.advert().to_text(),
            vouchers=tuple(map(to_base64url, vouchers)),
            run=self.run,
            met=tuple(self.met(link.peer)),
        )
        expires = now + ADVERT_SECONDS
        payload = Payload(
            type="advert",
            id=self._context.fresh_id(),
            from_=self._context.me,
            to=link.peer,
            created=now,
            expires=expires,
            body=body,
        )
        envelope_id = self._context.randomness(16)
        envelope = seal(self._context.identity, payload.to_bytes(), link.bundle, envelope_id, expires)
        return envelope, postmark_of(self._context.me, payload.id, envelope)

    def _padded(self, vouchers: Sequence[bytes]) -> list[bytes]:
        missing = -len(vouchers) % VOUCHERS_MULTIPLE if vouchers else VOUCHERS_MULTIPLE
        return [*vouchers, *(self._context.randomness(VOUCHER_SIZE) for _ in range(missing))]

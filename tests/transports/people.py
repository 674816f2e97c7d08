"""Peers for the tests of transports: real keys, and handlers that write down what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import anyio
from typing_extensions import override

from mcp_a2a.ports import Credentials, Link, LinkHandler, LookupHandler, Sighting
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Answer, Delivered
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope, Header, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.receipt import sign_receipt
from tests.protocol.people import EXPIRES, NOW, Dice, mark, ring_of

PATIENCE_SECONDS = 30.0
"""How long a test waits for what has to happen; never how long it takes."""


@cache
def identity(name: str) -> Identity:
    """The same key for the same name in every test."""
    return Identity(name.encode().ljust(32, b"."))


@cache
def ring(name: str) -> KeyRing:
    """Its encryption keys."""
    return ring_of(identity(name))


def credentials(name: str, keys: Callable[[], KeyRing] | None = None) -> Credentials:
    """What a transport needs to be that peer."""
    current = keys or (lambda: ring(name))
    return Credentials(identity(name), lambda: current().current, lambda: NOW, Dice(name.encode()))


def envelope(number: int, to: str, payload: bytes = b"{}") -> bytes:
    """A sealed envelope with the number as its id."""
    return seal(identity("sender"), payload, ring(to).current, number.to_bytes(16), EXPIRES)


def id_of(sealed: bytes) -> bytes:
    """The id that an answer names it by."""
    return Header.parse_untrusted(sealed).envelope_id


async def until(condition: Callable[[], object], watched: Witness | Spotter) -> None:
    """Wait for what a handler has to see."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not condition():
            watched.changed = anyio.Event()
            await watched.changed.wait()


@dataclass(eq=False)
class Witness(LinkHandler):
    """Writes down what happens on links, and signs for every envelope at once unless told otherwise."""

    name: str
    signs: bool = True
    opened: list[Link] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    closed: list[tuple[Link, str, bool]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def open_links(self) -> list[Link]:
        gone = [link for link, _, _ in self.closed]
        return [link for link in self.opened if link not in gone]

    @override
    def link_opened(self, link: Link) -> None:
        self.opened.append(link)
        self._note("opened")

    @override
    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        self.received.append(envelope.data)
        self._note("received")
        if self.signs:
            self.sign(link, envelope.data)

    @override
    def answer_received(self, link: Link, answer: Answer) -> None:
        self.answers.append(answer)
        self._note("answered")

    @override
    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        self.closed.append((link, reason, goodbye))
        self._note("closed")

    def sign(self, link: Link, *envelopes: bytes) -> None:
        """Give a receipt."""
        marks = tuple(mark(id_of(envelope)) for envelope in envelopes)
        link.answer(Delivered(marks, sign_receipt(identity(self.name), marks)))

    def _note(self, what: str) -> None:
        self.story.append(what)
        self.changed.set()


@dataclass(eq=False)
class Spotter(LookupHandler):
    """Writes down who is seen and lost."""

    seen: dict[PeerId, Sighting] = field(default_factory=dict)
    story: list[tuple[str, PeerId]] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    @override
    def sighted(self, sighting: Sighting) -> None:
        self.seen[sighting.peer] = sighting
        self.story.append(("sighted", sighting.peer))
        self.changed.set()

    @override
    def lost(self, peer: PeerId, provenance: str) -> None:
        assert self.seen.pop(peer).provenance == provenance
        self.story.append(("lost", peer))
        self.changed.set()

"""A peer that keeps no rules of ours: it holds a key, opens links, and submits whatever a test makes up."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import anyio
from typing_extensions import override

from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.control import Answer, Delivered, envelopes_of
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Envelope, Header, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import Artifact, Message, Part, Role, TaskState, TaskStatus
from mcp_a2a.protocol.payload import Body, CancelBody, MessageBody, Payload, PayloadType, TaskBody, UpdateBody
from mcp_a2a.protocol.receipt import postmark_of, sign_receipt
from mcp_a2a.protocol.task.task import task_id_of
from tests.node.world import Person
from tests.transports.memory import MemoryNetwork

WEEK = 7 * 86_400

Reaction = Callable[[Link, bytes], Answer | None]
"""What the outsider answers to an envelope; None is silence."""


@dataclass
class Outsider(LinkHandler):
    """One such peer."""

    identity: Identity
    ring: KeyRing
    transport: Transport
    reaction: Reaction | None = None
    """Without one it signs for everything, as an honest node does."""
    received: list[Payload] = field(default_factory=list)
    answers: dict[bytes, Answer] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    @property
    def did(self) -> str:
        return str(self.peer_id)

    # --- LinkHandler -----------------------------------------------------------------------------

    @override
    def link_opened(self, link: Link) -> None:
        self.links.append(link)
        self._tell()

    @override
    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        react = self.reaction or self.sign_for
        answer = react(link, envelope.data)
        if answer is not None:
            link.answer(answer)
        self._tell()

    @override
    def answer_received(self, link: Link, answer: Answer) -> None:
        for envelope_id in envelopes_of(answer):
            self.answers[envelope_id] = answer
        self._tell()

    @override
    def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
        self.links.remove(link)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until something that happened here makes it true."""
        with anyio.fail_after(seconds):
            while not condition():
                await self._news.wait()

    # --- deeds -----------------------------------------------------------------------------------

    def read(self, envelope: bytes) -> Payload:
        """Open what was sent to us, and keep it."""
        payload = Envelope.parse_untrusted(envelope).open_untrusted(self.ring, self.peer_id).payload
        self.received.append(payload)
        return payload

    def sign_for(self, link: Link, envelope: bytes) -> Answer:
        """What an honest node would say."""
        del link
        marks = (self.postmark(envelope, self.read(envelope)),)
        return Delivered(marks, sign_receipt(self.identity, marks))

    def postmark(self, envelope: bytes, payload: Payload) -> bytes:
        """What an honest node signs about a message."""
        return postmark_of(payload.from_, payload.id, envelope)

    async def dial(self, person: Person) -> Link:
        """Open a link to a node."""
        return await self.transport.dial(person.node.context.me, person.addresses[0], "direct")

    async def submit(self, link: Link, envelope: bytes) -> Answer:
        """Send an envelope, whoever made it, and wait for its answer."""
        envelope_id = Header.parse_untrusted(envelope).envelope_id
        self.answers.pop(envelope_id, None)
        link.submit(envelope)
        await self.until(lambda: envelope_id in self.answers)
        return self.answers[envelope_id]

    async def send(self, link: Link, payload: Payload, signer: Identity | None = None) -> Answer:
        """Seal a payload to whoever is at the other end of a link, and send it."""
        return await self.submit(link, sealed(signer or self.identity, payload, link.bundle))

    def received_of(self, kind: str) -> list[Payload]:
        """What came in of that type."""
        return [payload for payload in self.received if payload.type == kind]


@asynccontextmanager
async def outsider(
    network: MemoryNetwork, name: str, identity: Identity | None = None, reaction: Reaction | None = None
) -> AsyncIterator[Outsider]:
    """Such a peer, on the network as long as the context lasts."""
    who = identity or Identity(name.encode().ljust(32, b"\1"))
    ring = KeyRing(who)
    ring.handle_timeout(time.time(), os.urandom)
    transport = network.transport(name)
    person = Outsider(who, ring, transport, reaction)
    credentials = Credentials(who, lambda: ring.current, time.time, os.urandom)
    async with transport.open(credentials, person):
        yield person


# --- what it may have to say ----------------------------------------------------------------------


def sealed(signer: Identity, payload: Payload, bundle: KeyBundle) -> bytes:
    """An envelope with that inside, signed by anybody, sealed to anybody."""
    return seal(signer, payload.to_bytes(), bundle, os.urandom(16), payload.expires)


def message(text: str, role: Role = Role.USER) -> Message:
    return Message(message_id=os.urandom(8).hex(), role=role, parts=(Part(text=text),))


def letter(kind: PayloadType, sender: PeerId, to: PeerId, body: Body, **more: object) -> Payload:
    """A payload that is in order, but for what `more` says."""
    now = cast("float", more.pop("now", time.time()))
    fields = {"id": os.urandom(16).hex(), "created": now, "expires": now + WEEK, **more}
    if kind == "task":
        fields.setdefault("task", task_id_of(sender, str(fields["id"])))
    return Payload.model_validate({"type": kind, "from_": sender, "to": to, "body": body, **fields})


def task_letter(sender: PeerId, to: PeerId, text: str = "please", **more: object) -> Payload:
    return letter("task", sender, to, TaskBody(message=message(text)), **more)


def message_letter(sender: PeerId, to: PeerId, task: str, text: str, **more: object) -> Payload:
    return letter("message", sender, to, MessageBody(message=message(text)), task=task, **more)


def cancel_letter(sender: PeerId, to: PeerId, task: str, opening: str | None = None, **more: object) -> Payload:
    return letter("cancel", sender, to, CancelBody(opening=opening), task=task, **more)


def update_letter(
    sender: PeerId, to: PeerId, task: str, seq: int, state: TaskState, text: str = "", **more: object
) -> Payload:
    said = message(text, Role.AGENT) if text else None
    artifacts: tuple[Artifact, ...] = ()
    if state == TaskState.COMPLETED:
        artifacts = (Artifact(artifact_id="result", parts=(Part(text=text),)),)
    body = UpdateBody(status=TaskStatus(state=state, message=said), artifacts=artifacts)
    return letter("update", sender, to, body, task=task, seq=seq, **more)

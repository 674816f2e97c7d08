"""A relay that swaps, replays, delays, redirects, changes and makes up envelopes and answers, in any order.

It sees every envelope and every answer, and holds the links' keys of its own connections. It can withhold, and nothing
else: nothing counts as delivered that is not on record with its recipient, which refuses nothing unless it says so.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from mcp_a2a.api.networks import InviteRequest, JoinRequest
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored, envelopes_of
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import HEADER_SIZE
from mcp_a2a.protocol.receipt import sign_receipt, sign_verdict
from tests.node.carriers import (
    BAITS,
    MALLORY,
    Mischief,
    Promises,
    answered,
    answering,
    bait_for,
    hurry,
    nothing_waits,
    sent,
)
from tests.node.world import Person, World
from tests.protocol.people import mark, ring_of
from tests.relay.scripted import Caller, ScriptedRelay

WITH_MAIL = (
    *("drop", "twice", "another's", "an old one", "later", "flip"),
    *("bait", "bait first", "redirect", "stored", "full"),
)
WITH_ANSWERS = (
    *("drop", "twice", "cross", "an old one", "signed by me"),
    *("unsigned", "another code", "another key", "unknown"),
)


class Tamperer(ScriptedRelay):
    """Does what it draws with mail and answers. When its budget is spent, it starts anew and is honest."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__()
        self.mischief = mischief
        self.envelopes: list[bytes] = []
        self.said: list[Answer] = []
        self.held: list[tuple[Caller, bytes]] = []
        self.mallory: KeyRing = ring_of(MALLORY)

    @override
    async def deposit(self, caller: Caller, envelope: bytes, envelope_id: bytes) -> None:
        self.envelopes.append(envelope)
        await super().deposit(caller, envelope, envelope_id)

    @override
    async def deliver(self, recipient: Caller, envelope: bytes) -> None:
        word = self.mischief.draw(*WITH_MAIL)
        if word is None:
            held, self.held = self.held, []
            await super().deliver(recipient, envelope)
            for caller, late in held:
                await caller.say(late)
            return
        for caller, one in await self._mail(word, recipient, envelope):
            await caller.say(one)

    async def _mail(self, word: str, recipient: Caller, envelope: bytes) -> list[tuple[Caller, bytes]]:
        chances = self.mischief.chances
        mine = [(recipient, envelope)]
        to = self.depositors[envelope[44:60]]
        match word:
            case "twice":
                return mine * 2
            case "another's" | "an old one":
                return [(recipient, chances.choice(self.envelopes)), *(mine if word == "an old one" else ())]
            case "later":
                self.held += mine
            case "flip":
                at = chances.randrange(HEADER_SIZE, len(envelope))
                return [(recipient, envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :])]
            case "bait" | "bait first":
                bait = bait_for(envelope, self.bundles[recipient.peer], chances.choice(BAITS))
                return [(recipient, bait), *(mine if word == "bait first" else ())]
            case "redirect":
                callers = [callers[-1] for callers in self.callers.values() if callers]
                return [(chances.choice(callers), envelope)]
            case "stored" | "full":
                depositor = self.newest(to)
                answer = Stored(envelope[44:60]) if word == "stored" else Refused(envelope[44:60], "mailbox_full", 6e5)
                if depositor is not None:
                    await depositor.say(answer)
        return []

    @override
    async def answered(self, caller: Caller, answer: Answer) -> None:
        self.said.append(answer)
        known = [envelope_id for envelope_id in envelopes_of(answer) if envelope_id in self.depositors]
        if known:
            await super().answered(caller, answer)

    @override
    async def forward(self, depositor: PeerId, answer: Answer) -> None:
        word = self.mischief.draw(*WITH_ANSWERS)
        for one in [answer] if word is None else self._answers(word, answer):
            await super().forward(depositor, one)

    def _answers(self, word: str, answer: Answer) -> list[Answer]:  # noqa: PLR0911  a table of deeds
        chances = self.mischief.chances
        name = envelopes_of(answer)[0]
        match word:
            case "twice":
                return [answer, answer]
            case "cross":
                return [_about(chances.choice([*self.depositors]), answer), answer]
            case "an old one":
                return [_about(name, chances.choice(self.said))]
            case "signed by me":
                return chances.sample(self._lies(name), 1)
            case "unsigned":
                return [Refused(name, "blocked", 6e5)]
            case "another code":
                signature = getattr(chances.choice(self.said), "signature", None)
                return [Refused(name, chances.choice(["blocked", "rejected", "hop_limit"]), 6e5, signature=signature)]
            case "another key":
                return [Refused(name, "unknown_key", bundle=self.mallory.current)]
            case "unknown":
                return [Refused(name, "unknown")]
            case _:
                return []

    def _lies(self, name: bytes) -> list[Answer]:
        return [
            Delivered((mark(name),), sign_receipt(MALLORY, (mark(name),))),
            Held(name, sign_verdict(MALLORY, mark(name), "held")),
            Refused(name, "blocked", 0.0, signature=sign_verdict(MALLORY, mark(name), "blocked")),
        ]

    async def start_anew(self) -> None:
        """From here on it is honest: everybody connects again, and asks what became of what was stored."""
        self.mischief.budget = 0
        for callers in list(self.callers.values()):
            for caller in list(callers):
                await caller.socket.close()


def _about(name: bytes, answer: Answer) -> Answer:
    """The same word, and signature, about the envelope with this id."""
    if isinstance(answer, Delivered):
        return replace(answer, postmarks=tuple(name + postmark[16:] for postmark in answer.postmarks))
    return replace(answer, envelope=name)


async def conversation(relay: Tamperer, folder: Path) -> Promises:
    """Alice tasks Bob through the relay until it has done what it wanted; then all of it has arrived."""
    world, promises = World(folder), Promises()
    async with (
        relay.serve(),
        world.person("alice") as alice,
        world.person("bob") as bob,
        world.person("carol") as carol,
    ):
        budget, relay.mischief.budget = relay.mischief.budget, 0
        ticket = (await alice.api.call(InviteRequest(network="shop", relays=(relay.url,)))).ticket
        for person in (bob, carol):
            await person.api.call(JoinRequest(ticket=ticket))
        await seen_by(alice, bob)
        await seen_by(bob, alice)
        relay.mischief.budget = budget
        promises.watch(alice, bob)
        promises.watch(bob, alice)
        async with answering(bob) as came, answering(carol) as strays:
            texts = [f"words {number}" for number in range(6)]
            tasks = await sent(alice, bob.did, texts)
            with anyio.move_on_after(1):
                await relay.mischief.over.wait()
            await relay.start_anew()
            await answered(alice, tasks, texts)
            await nothing_waits(alice, bob)
        assert sorted(came) == texts, "each came once, and nothing else came"
        assert strays == []
        for one, other in ((alice, bob), (bob, alice)):
            peer = one.node.directory.known(other.node.context.me)
            assert peer is not None
            assert peer.bundle == other.node.ring.current
    return promises


async def seen_by(one: Person, other: Person) -> None:
    with anyio.fail_after(30):
        while not any(peer.peer_id == other.node.context.me for peer in one.node.directory):
            await one.node.directory.changes.event().wait()


@settings(max_examples=5)
@given(st.integers(0, 2**32))
async def test_a_relay_that_does_anything_to_mail_and_answers_delivers_nothing_and_refuses_nothing(seed: int) -> None:
    relay = Tamperer(Mischief(random.Random(seed), budget=15))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        promises = await conversation(relay, Path(folder))
    assert promises.broken == []

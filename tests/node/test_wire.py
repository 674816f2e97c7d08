"""What can be read on a wire: keys, ids and sizes, and nothing of what anybody says or is."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

import anyio
import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, ReplyRequest, SendTaskRequest
from mcp_a2a.ports import Sighting
from mcp_a2a.protocol.control import MAX_FRAME
from mcp_a2a.protocol.envelope import WIRE_SIZES, Header
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports.direct import DirectTransport
from tests.node.wiretap import FrameTap, canary, found, spellings, tcp_tap
from tests.node.world import Person, World, acquainted

SECRETS = ("name", "description", "skill", "skill-name", "skill-text", "tag", "task", "progress", "question", "reply",
           "result", "context")  # fmt: skip


class Secrets:
    """A canary for everything that an agent says and is."""

    def __init__(self) -> None:
        self.words = {what: canary(what) for what in SECRETS}

    def __getitem__(self, what: str) -> str:
        return self.words[what]

    def card(self) -> AgentCard:
        skill = AgentSkill(
            id=self["skill"], name=self["skill-name"], description=self["skill-text"], tags=(self["tag"],)
        )
        return AgentCard(name=self["name"], description=self["description"], skills=(skill,))


async def a_whole_conversation(alice: Person, bob: Person, said: Secrets) -> None:
    """A task with progress, a question, its reply and a result."""
    sent = await alice.api.call(
        SendTaskRequest(
            agent=bob.did, message=said["task"], skill=said["skill"], context_id=said["context"], wait_seconds=0
        )
    )

    async def work(status: str, text: str) -> None:
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(AnswerRequest.model_validate({"task_id": sent.task_id, "status": status, "text": text}))

    await work("working", said["progress"])
    await bob.api.call(AnswerRequest(task_id=sent.task_id, status="input_required", text=said["question"]))
    asked = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert asked.question == said["question"]
    await alice.api.call(ReplyRequest(task_id=sent.task_id, message=said["reply"], wait_seconds=0))
    await work("completed", said["result"])
    view = await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert (view.state, view.text) == (Moment.COMPLETED, said["result"])


async def test_the_header_of_an_envelope_is_read_once_and_only_by_its_recipient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Counter[bytes]()
    parse = Header.parse_untrusted

    def parse_untrusted(envelope: bytes) -> Header:
        read[envelope] += 1
        return parse(envelope)

    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        monkeypatch.setattr(Header, "parse_untrusted", parse_untrusted)
        sent = await alice.api.call(SendTaskRequest(agent="bob", message="hello", wait_seconds=0))
        await bob.api.call(CheckInboxRequest(wait_seconds=30))
        await bob.api.call(AnswerRequest(task_id=sent.task_id, status="completed", text="done"))
        await alice.api.call(GetTaskRequest(task_id=sent.task_id, wait_seconds=30))
    assert len(read) >= 2
    assert set(read.values()) == {1}


async def test_nothing_that_is_said_can_be_read_on_the_in_memory_network(tmp_path: Path) -> None:
    tap, said = FrameTap(), Secrets()
    world = World(tmp_path, network=tap.network)
    world.make_own("alice", "bob")
    async with world.person("alice", card=said.card()) as alice, world.person("bob", card=said.card()) as bob:
        await acquainted(alice, bob)
        await a_whole_conversation(alice, bob, said)
    assert alice.did.encode() in tap.wire, "the tap reads what is not secret"
    assert found(list(said.words.values()), tap.wire) == []
    envelopes = tap.envelopes("alice", "bob") + tap.envelopes("bob", "alice")
    assert len(envelopes) >= 7
    assert {len(envelope) for envelope in envelopes} <= WIRE_SIZES
    assert all(len(frame) <= MAX_FRAME for _, _, frame in tap.frames)


async def test_nothing_that_is_said_can_be_read_between_two_tcp_sockets(tmp_path: Path) -> None:
    said = Secrets()
    world = World(tmp_path)
    world.make_own("alice", "bob")
    async with (
        world.person("alice", card=said.card(), transport=DirectTransport("127.0.0.1")) as alice,
        world.person("bob", card=said.card(), transport=DirectTransport("127.0.0.1")) as bob,
    ):
        listening = bob.addresses[0]
        assert isinstance(listening, DirectAddr)
        async with tcp_tap(listening.port) as tap:
            alice.node.sighted(Sighting(bob.node.context.me, (DirectAddr("127.0.0.1", tap.port),), "test"))
            with anyio.fail_after(30):
                await a_whole_conversation(alice, bob, said)
            wire = tap.wire
    assert alice.did.encode() in wire, "the tap reads what the dialler says, under its mask"
    assert bob.did.encode() in wire, "and what the listener says"
    assert found(list(said.words.values()), wire) == []


def test_the_search_for_a_word_finds_it_in_every_spelling() -> None:
    word = canary("x")
    for before in range(4):
        wire = b"?" * before + word.encode() + b"???"
        assert all(found([word], spelled) for spelled in (wire, wire.hex().encode(), base64.b64encode(wire)))
    assert len(set(spellings(word))) >= 7

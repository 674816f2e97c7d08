"""A proxy on a direct link that swaps, replays, delays, changes, drops, sends back and makes up frames.

It owns no key of the two, and sees every frame. What it can do is keep them apart: nothing counts as delivered that is
not on record over there, nothing is refused that its recipient did not refuse, and no frame or key of its own is taken.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Awaitable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from mcp_a2a.protocol.bundle import KeyBundle
from mcp_a2a.protocol.control import Bye, ByeCode, Delivered, Held, Refused, Stored
from mcp_a2a.protocol.envelope import Header
from mcp_a2a.protocol.frames import encode
from mcp_a2a.protocol.link_keys import TAG_SIZE
from mcp_a2a.protocol.paths import TransportAddr
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._links import Links
from tests.node.carriers import (
    BAITS,
    MALLORY,
    Mischief,
    Promises,
    advert,
    answered,
    answering,
    bait_for,
    hurry,
    nothing_waits,
    sent,
)
from tests.node.world import Person, World, acquainted
from tests.protocol.people import mark
from tests.transports.memory import MemoryNetwork

DEEDS = ("drop", "twice", "swap", "later", "flip", "bait", "bait under an old tag", "bye", "answer", "back", "text")


class HostilePath(MemoryNetwork):
    """A network on which every wire leads through the proxy."""

    def __init__(self, mischief: Mischief) -> None:
        super().__init__()
        self.mischief = mischief
        self.bundles: dict[bytes, KeyBundle] = {}
        """By key: those of the two, which are public."""
        self.seen: list[bytes] = []
        self.held: list[bytes] = []

    @override
    async def connect(self, dialler: str, address: TransportAddr) -> tuple[Channel, Channel, Links]:
        ours, theirs, links = await super().connect(dialler, address)
        return _Proxied(self, ours), theirs, links

    def deed(self, frame: str | bytes) -> list[str | bytes]:
        """What arrives in place of a frame."""
        if isinstance(frame, str):
            return [self._changed(frame)]
        self.seen.append(frame)
        word = self.mischief.draw(*DEEDS, often=0.25)
        frames = self._done(word, frame) if word else [frame]
        if word != "later" and self.held:
            frames += self.held
            self.held = []
        return frames

    def _changed(self, text: str) -> str:
        """The handshake is readable: a letter of it may be another."""
        if self.mischief.draw("handshake", often=0.05) is None:
            return text
        at = self.mischief.chances.randrange(len(text))
        return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]

    def _done(self, word: str, frame: bytes) -> list[str | bytes]:  # noqa: PLR0911  a table of deeds
        chances = self.mischief.chances
        match word:
            case "drop":
                return []
            case "twice":
                return [frame, frame]
            case "swap":
                return [chances.choice(self.seen)]
            case "later":
                self.held.append(frame)
                return []
            case "flip":
                at = chances.randrange(len(frame))
                return [frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]]
            case "bait" | "bait under an old tag":
                tag = frame[-TAG_SIZE:] if word != "bait" else chances.randbytes(TAG_SIZE)
                return [self._bait(frame) + tag, frame]
            case "bye":
                return [encode(Bye(ByeCode.LEAVING)).encode() + frame[-TAG_SIZE:]]
            case "answer":
                return [self._answer() + frame[-TAG_SIZE:], frame]
            case "back":
                return [frame, chances.choice(self.seen), frame]
            case _:
                return [frame[:-TAG_SIZE].decode(errors="replace"), frame]

    def _bait(self, frame: bytes) -> bytes:
        envelope = self._envelope(frame)
        if envelope is None:
            return frame[:-TAG_SIZE]
        to = Header.parse_untrusted(envelope).to
        return bait_for(envelope, self.bundles[to.key], self.mischief.chances.choice(BAITS))

    def _answer(self) -> bytes:
        envelope = self._envelope(self.mischief.chances.choice(self.seen))
        name = bytes(16) if envelope is None else Header.parse_untrusted(envelope).envelope_id
        answers = (
            Delivered((mark(name),), bytes(64)),
            Stored(name),
            Held(name, bytes(64)),
            Refused(name, "blocked", signature=bytes(64)),
        )
        return encode(self.mischief.chances.choice(answers)).encode()

    @staticmethod
    def _envelope(frame: bytes) -> bytes | None:
        return frame[:-TAG_SIZE] if frame.startswith(b"A2E") else None


class _Proxied(Channel):
    """The dialler's end of a wire, with the proxy on both of its ways."""

    def __init__(self, path: HostilePath, inner: Channel) -> None:
        self._path = path
        self._inner = inner
        self._arrived: list[str | bytes] = []

    @override
    def offer(self, frame: str | bytes) -> Awaitable[None]:
        return self._sent(self._path.deed(frame))

    async def _sent(self, frames: list[str | bytes]) -> None:
        for one in frames:
            await self._inner.send(one)

    @override
    async def receive(self) -> str | bytes:
        while not self._arrived:
            self._arrived += self._path.deed(await self._inner.receive())
        return self._arrived.pop(0)

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


async def conversation(path: HostilePath, folder: Path) -> Promises:
    """Alice tasks Bob, who answers, until the proxy has done what it wanted; then all of it has arrived."""
    world, promises = World(folder, network=path), Promises()
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        for person in (alice, bob):
            path.bundles[person.node.context.me.key] = person.node.ring.current
        budget, path.mischief.budget = path.mischief.budget, 0
        await acquainted(alice, bob)
        path.mischief.budget = budget
        promises.watch(alice, bob)
        promises.watch(bob, alice)
        texts: list[str] = []
        tasks: list[str] = []
        async with answering(bob) as came:
            while path.mischief.budget:
                more = [f"words {len(texts) + number}" for number in range(3)]
                texts += more
                tasks += await sent(alice, bob.did, more)
                await answered(alice, tasks[-3:], more)
        assert sorted(came) == sorted(texts), "each came once, and nothing else came"
        await nothing_waits(alice, bob)
        assert only_the_keys_of(alice, bob)
    return promises


def only_the_keys_of(alice: Person, bob: Person) -> bool:
    for one, other in ((alice, bob), (bob, alice)):
        peer = one.node.directory.known(other.node.context.me)
        assert peer is not None
        assert peer.bundle == other.node.ring.current
        assert one.node.directory.known(MALLORY.peer_id) is None, "no frame of the proxy's own was taken"
    return True


@settings(max_examples=15)
@given(st.integers(0, 2**32))
async def test_a_proxy_that_does_anything_to_frames_delivers_nothing_and_refuses_nothing(seed: int) -> None:
    path = HostilePath(Mischief(random.Random(seed), budget=15))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        promises = await conversation(path, Path(folder))
    assert promises.broken == []


class Thief(HostilePath):
    """Keeps every message for its victim back, and gives it something of its own under the same id."""

    def __init__(self) -> None:
        super().__init__(Mischief(random.Random(0), 0))
        self.victim: bytes | None = None
        self.stolen = 0

    @override
    def deed(self, frame: str | bytes) -> list[str | bytes]:
        envelope = self._envelope(frame) if isinstance(frame, bytes) else None
        if envelope is None or Header.parse_untrusted(envelope).to.key != self.victim:
            return [frame]
        self.stolen += 1
        if self.stolen > 3:
            self.victim = None
        return [bait_for(envelope, self.bundles[Header.parse_untrusted(envelope).to.key], advert) + frame[-TAG_SIZE:]]


@pytest.mark.parametrize("stolen", ["task", "result"])
async def test_a_proxy_that_owns_no_key_cannot_have_something_else_signed_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stolen: str
) -> None:
    hurry(monkeypatch)
    path, promises = Thief(), Promises()
    world = World(tmp_path, network=path)
    world.make_own("alice", "bob")
    async with world.person("alice") as alice, world.person("bob") as bob:
        await acquainted(alice, bob)
        for person in (alice, bob):
            path.bundles[person.node.context.me.key] = person.node.ring.current
        promises.watch(alice, bob)
        promises.watch(bob, alice)
        victim = bob if stolen == "task" else alice
        path.victim = victim.node.context.me.key
        async with answering(bob) as came:
            tasks = await sent(alice, bob.did, ["hello"])
            await answered(alice, tasks, ["hello"])
        assert path.stolen > 3, "it was stolen again and again, until the proxy let it through"
        assert came == ["hello"]
        assert promises.broken == []
        assert only_the_keys_of(alice, bob)

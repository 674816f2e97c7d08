"""The driver with a peer that does not play along, under a clock that jumps over every wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import anyio
import anyio.lowlevel
import pytest
import trio.testing
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Bye, ByeCode, Held
from mcp_a2a.protocol.envelope import MAX_PAYLOAD
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Waiting
from mcp_a2a.protocol.link import MAX_QUEUED_BYTES
from mcp_a2a.protocol.link_keys import LinkKeys
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a_transports._channel import Channel
from mcp_a2a_transports._links import Links, keep_links
from tests.protocol.people import NOW, Dice
from tests.transports.memory import MemoryNetwork
from tests.transports.people import Witness, credentials, envelope, identity, ring, until

BEN = DirectAddr("ben.memory", 7301)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio with a virtual clock."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def connect(network: MemoryNetwork) -> Channel:
    """The wire of somebody who dials Ben without our driver."""
    ours, theirs, links = await network.connect("mallory", BEN)
    links.start(Side.LISTENER, theirs, "mallory", "direct")
    return ours


async def log_in(wire: Channel, name: str = "mallory") -> LinkKeys:
    """Prove a key, by hand."""
    handshake = Handshake(Side.DIALLER, identity(name), ring(name).current, bytes(32))
    step = handshake.receive_untrusted(decode_untrusted(await wire.receive()))
    assert isinstance(step, Waiting)
    await wire.send(encode(step.reply))
    established = handshake.receive_untrusted(decode_untrusted(await wire.receive()))
    assert isinstance(established, Established)
    return established.keys


async def last_word(wire: Channel, keys: LinkKeys | None = None) -> ByeCode | None:
    """The code of the bye that comes before the end, if one comes."""
    word = None
    with suppress(anyio.EndOfStream):
        while True:
            received = await wire.receive()
            frame = decode_untrusted(received if keys is None else keys.open_untrusted(received))
            word = frame.code if isinstance(frame, Bye) else word
    return word


async def fill(link: Link, sealed: Callable[[int], bytes]) -> int:
    """Submit until the link refuses; how many it took."""
    for number in count():
        try:
            link.submit(sealed(number))
        except LinkError:
            return number
        await anyio.lowlevel.checkpoint()
    raise AssertionError


@asynccontextmanager
async def ben_listens(signs: bool = True) -> AsyncIterator[tuple[MemoryNetwork, Witness]]:  # noqa: FBT001, FBT002
    network, witness = MemoryNetwork(), Witness("ben", signs=signs)
    async with network.transport("ben").open(credentials("ben"), witness):
        yield network, witness


async def test_who_never_says_hello_is_closed_after_five_seconds() -> None:
    async with ben_listens() as (network, of_ben):
        started = anyio.current_time()
        wire = await connect(network)
        assert await last_word(wire) is ByeCode.TIMEOUT
        assert 5 <= anyio.current_time() - started < 6
        await wire.aclose()
        assert of_ben.story == []


async def test_who_never_reads_is_closed_after_thirty_seconds() -> None:
    async with ben_listens() as (network, of_ben):
        wire = await connect(network)
        keys = await log_in(wire)
        await until(lambda: of_ben.opened, of_ben)
        (link,) = of_ben.opened
        await fill(link, lambda number: envelope(number, "ann"))
        started = anyio.current_time()
        while not of_ben.closed:
            await wire.send(keys.tagged(encode(Held(bytes(16), bytes(64))).encode()))  # alive, but it does not read
            await anyio.sleep(1)
        ((_, reason, goodbye),) = of_ben.closed
        assert reason == "the peer has read nothing for 30 s"
        assert not goodbye
        assert 30 <= anyio.current_time() - started < 35
        await wire.aclose()


async def test_a_frame_is_on_the_wire_in_the_turn_of_its_caller() -> None:
    frames: list[str | bytes] = []
    network = MemoryNetwork(tap=lambda _, __, frame: frames.append(frame))
    async with ben_on(network) as of_ben, keep_links(credentials("ann"), Witness("ann")) as links:
        await dial(network, links)
        await until(lambda: of_ben.opened, of_ben)
        await anyio.wait_all_tasks_blocked()
        frames.clear()
        of_ben.opened[0].submit(envelope(1, "ann"))
        assert len(frames) == 1


async def test_who_never_reads_costs_a_bounded_amount_of_memory() -> None:
    async with ben_listens() as (network, of_ben):
        wire = await connect(network)
        await log_in(wire)
        await until(lambda: of_ben.opened, of_ben)
        (link,) = of_ben.opened
        largest = envelope(1, "ann", payload=bytes(MAX_PAYLOAD))
        accepted = await fill(link, lambda _: largest)
        # What the wire itself took, one batch on its way to it, and one that waits.
        assert accepted <= 64 + 2 * (MAX_QUEUED_BYTES // len(largest) + 1) + 1
        await wire.aclose()


async def test_who_never_answers_us_can_not_make_us_store_more() -> None:
    async with ben_listens(signs=False) as (network, of_ben):
        wire = await connect(network)
        keys = await log_in(wire)
        with anyio.move_on_after(10):
            for number in range(10_000):
                await wire.send(keys.tagged(envelope(number, "ben")))
        assert 128 < len(of_ben.received) < 140
        await wire.aclose()


async def test_silence_of_45_seconds_ends_a_link() -> None:
    async with ben_listens() as (network, of_ben):
        wire = await connect(network)
        keys = await log_in(wire)
        assert await last_word(wire, keys) is ByeCode.TIMEOUT
        ((_, reason, goodbye),) = of_ben.closed
        assert (reason, goodbye) == ("no sign of life for 45 s", False)
        await wire.aclose()


@pytest.mark.parametrize("garbage", ["garbage", b"garbage"], ids=["without a MAC", "with one"])
async def test_garbage_ends_a_link_with_a_reason_at_both_ends(garbage: str | bytes) -> None:
    async with ben_listens() as (network, of_ben):
        wire = await connect(network)
        keys = await log_in(wire)
        await wire.send(garbage if isinstance(garbage, str) else keys.tagged(garbage))
        assert await last_word(wire, keys) is ByeCode.PROTOCOL
        assert "broke the protocol" in of_ben.closed[0][1]
        await wire.aclose()


async def test_a_newer_key_bundle_is_announced_on_open_links() -> None:
    keys = KeyRing.load(identity("ben"), ring("ben").dump())
    network, of_ben, of_ann = MemoryNetwork(), Witness("ben"), Witness("ann")
    ann = network.transport("ann")
    async with (
        network.transport("ben").open(credentials("ben", lambda: keys), of_ben),
        ann.open(credentials("ann"), of_ann),
    ):
        link = await ann.dial(None, BEN, "direct")
        assert link.bundle == ring("ben").current
        keys.handle_timeout(NOW + 90_000, Dice(b"new"))
        await anyio.sleep(30)
        assert link.bundle == keys.current


async def test_a_handler_that_fails_when_a_link_opens_closes_that_link() -> None:
    class Clumsy(Witness):
        @override
        def link_opened(self, link: object) -> None:
            raise RuntimeError("a bug of ours")

    network, of_ben = MemoryNetwork(), Clumsy("ben")
    async with network.transport("ben").open(credentials("ben"), of_ben):
        wire = await connect(network)
        keys = await log_in(wire)
        assert await last_word(wire, keys) is ByeCode.CLOSED
        await wire.aclose()


class BrokenChannel(Channel):
    """Fails in a way that no contract foresees."""

    @override
    async def receive(self) -> str | bytes:
        raise RuntimeError("not foreseen")

    @override
    def offer(self, frame: str | bytes) -> None:
        raise RuntimeError("not foreseen")

    @override
    async def aclose(self) -> None:
        raise RuntimeError("not foreseen")


async def test_a_channel_that_fails_unforeseen_costs_one_link_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    network, of_ann = MemoryNetwork(), Witness("ann")
    async with ben_on(network) as of_ben, keep_links(credentials("ann"), of_ann) as links:
        broken = links.start(Side.DIALLER, BrokenChannel(), "nowhere", "direct")
        with pytest.raises(LinkError):
            await broken.opened()
        await broken.ended.wait()
        await dial(network, links)
        await until(lambda: of_ben.opened and of_ann.opened, of_ann)
    assert "not foreseen" in caplog.text


@asynccontextmanager
async def ben_on(network: MemoryNetwork) -> AsyncIterator[Witness]:
    witness = Witness("ben")
    async with network.transport("ben").open(credentials("ben"), witness):
        yield witness


async def dial(network: MemoryNetwork, links: Links) -> None:
    ours, theirs, listener = await network.connect("ann", BEN)
    listener.start(Side.LISTENER, theirs, "ann", "direct")
    await links.start(Side.DIALLER, ours, str(BEN), "direct").opened()

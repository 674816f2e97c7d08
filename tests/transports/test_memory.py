"""The in-process network and its faults, under a clock that jumps over every wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
import trio.testing

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.link_keys import TAG_SIZE
from mcp_a2a.protocol.paths import DirectAddr
from tests.transports.memory import MemoryNetwork, MemoryTransport
from tests.transports.people import Witness, credentials, envelope, identity, until

PEOPLE = ("ann", "ben", "cat")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio with a virtual clock: 45 seconds of silence take no time at all."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@dataclass
class Town:
    """A network with people on it."""

    network: MemoryNetwork
    transports: dict[str, MemoryTransport] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)

    async def dial(self, one: str, other: str) -> Link:
        return await self.transports[one].dial(identity(other).peer_id, DirectAddr(f"{other}.memory", 7301), "direct")


@asynccontextmanager
async def town(network: MemoryNetwork) -> AsyncIterator[Town]:
    people = Town(network)
    async with AsyncExitStack() as stack:
        for name in PEOPLE:
            people.transports[name] = network.transport(name)
            people.witnesses[name] = Witness(name)
            await stack.enter_async_context(people.transports[name].open(credentials(name), people.witnesses[name]))
        yield people


async def test_a_delay_is_what_the_round_trip_takes() -> None:
    network = MemoryNetwork()
    network.faults.delay_seconds = 0.5
    async with town(network) as people:
        link = await people.dial("ann", "ben")
        await anyio.sleep(30)
        assert link.rtt_seconds == pytest.approx(1.0)


async def test_jitter_never_changes_the_order_on_a_link() -> None:
    network = MemoryNetwork(seed=1)
    async with town(network) as people:
        link = await people.dial("ann", "ben")
        network.faults.jitter_seconds = 3.0
        sent = [envelope(number, "ben") for number in range(20)]
        for one in sent:
            link.submit(one)
        await anyio.sleep(200)
        assert people.witnesses["ben"].received == sent


async def test_jitter_lets_frames_of_different_links_overtake_each_other() -> None:
    network = MemoryNetwork(seed=1)
    async with town(network) as people:
        from_ann, from_cat = await people.dial("ann", "ben"), await people.dial("cat", "ben")
        network.faults.jitter_seconds = 3.0
        sent = [envelope(number, "ben") for number in range(20)]
        for number, one in enumerate(sent):
            (from_ann if number % 2 else from_cat).submit(one)
        await anyio.sleep(200)
        received = people.witnesses["ben"].received
        assert sorted(received) == sorted(sent)
        assert received != sent


async def test_a_lost_frame_breaks_its_link_and_both_ends_notice() -> None:
    network = MemoryNetwork()
    async with town(network) as people:
        link = await people.dial("ann", "ben")
        await anyio.sleep(1)
        network.faults.loss = 1.0
        link.submit(envelope(1, "ben"))
        await anyio.sleep(1)
        for name in ("ann", "ben"):
            ((_, reason, goodbye),) = people.witnesses[name].closed
            assert (reason, goodbye) == ("the connection was lost", False)


async def test_everything_arrives_over_a_lossy_network_by_dialling_again() -> None:
    network = MemoryNetwork(seed=7)
    network.faults.loss = 0.05
    async with town(network) as people:
        ben, missing = people.witnesses["ben"], {envelope(number, "ben") for number in range(50)}
        dials = 0
        while missing:
            dials += 1
            try:
                link = await people.dial("ann", "ben")
                for one in sorted(missing):
                    link.submit(one)
            except LinkError:
                continue
            await anyio.sleep(1)
            missing -= set(ben.received)
        assert dials > 1


async def test_a_duplicated_dial_opens_a_second_link() -> None:
    network = MemoryNetwork()
    network.faults.duplication = 1.0
    async with town(network) as people:
        await people.dial("ann", "ben")
        await until(lambda: len(people.witnesses["ben"].opened) == 2, people.witnesses["ben"])
        await until(lambda: len(people.witnesses["ann"].opened) == 2, people.witnesses["ann"])


async def test_a_cut_breaks_the_links_between_two_hosts_and_no_other() -> None:
    network = MemoryNetwork()
    async with town(network) as people:
        await people.dial("ann", "ben")
        other = await people.dial("ann", "cat")
        network.cut("ann", "ben")
        await until(lambda: people.witnesses["ben"].closed, people.witnesses["ben"])
        with pytest.raises(LinkError, match="no program listens"):
            await people.dial("ben", "ann")
        other.submit(envelope(1, "cat"))
        await until(lambda: people.witnesses["ann"].answers, people.witnesses["ann"])


async def test_after_healing_they_reach_each_other_again() -> None:
    network = MemoryNetwork()
    async with town(network) as people:
        network.cut("ann", "ben")
        network.heal()
        assert (await people.dial("ann", "ben")).peer == identity("ben").peer_id


async def test_a_silent_cut_is_noticed_after_45_seconds() -> None:
    network = MemoryNetwork()
    async with town(network) as people:
        await people.dial("ann", "ben")
        await anyio.sleep(1)
        started = anyio.current_time()
        network.cut("ann", "ben", silently=True)
        await anyio.sleep(43)
        assert not people.witnesses["ann"].closed
        await anyio.sleep(2)
        ((_, reason, goodbye),) = people.witnesses["ann"].closed
        assert (reason, goodbye) == ("no sign of life for 45 s", False)
        with pytest.raises(LinkError, match="no answer within 5 s"):
            await people.dial("ann", "ben")
        assert anyio.current_time() - started < 60


async def test_a_link_from_which_a_silent_cut_took_something_does_not_survive_it() -> None:
    network = MemoryNetwork()
    async with town(network) as people:
        link = await people.dial("ann", "ben")
        await anyio.sleep(1)
        network.cut("ann", "ben", silently=True)
        link.submit(envelope(1, "ben"))
        await anyio.sleep(1)
        network.heal()
        await until(lambda: people.witnesses["ann"].closed, people.witnesses["ann"])
        assert people.witnesses["ben"].received == []


async def test_an_idle_link_stays_open_for_a_day_on_its_heartbeat() -> None:
    frames: list[str | bytes] = []
    network = MemoryNetwork(tap=lambda _one, _other, frame: frames.append(frame))
    async with town(network) as people:
        await people.dial("ann", "ben")
        await anyio.sleep(86_400)
        assert not people.witnesses["ann"].closed
        # A ping and its pong every twenty seconds, from both sides, and nothing else.
        assert len(frames) < 86_400 / 20 * 4 + 10


async def test_a_tap_sees_every_frame_and_none_of_the_content() -> None:
    frames: list[tuple[str, str, str | bytes]] = []
    network = MemoryNetwork(tap=lambda one, other, frame: frames.append((one, other, frame)))
    async with town(network) as people:
        link = await people.dial("ann", "ben")
        sealed = envelope(1, "ben", payload=b"the canary sings")
        link.submit(sealed)
        await until(lambda: people.witnesses["ann"].answers, people.witnesses["ann"])
    assert ("ann", "ben", sealed) in [
        (one, other, frame[:-TAG_SIZE]) for one, other, frame in frames if isinstance(frame, bytes)
    ]
    assert not any("canary" in str(frame) for _, _, frame in frames)

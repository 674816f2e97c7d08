"""Fifty agents in one process find each other over real links, and are quiet once they have."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from typing_extensions import override

from mcp_a2a.accepting import raise_open_files
from mcp_a2a.node.node import Node
from mcp_a2a.node.running import run_node
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.ports import Sighting
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.paths import DirectAddr
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.store.opening import open_database
from mcp_a2a_transports.direct import DirectTransport
from mcp_a2a_transports.local import LocalLookup
from mcp_a2a_transports.relay.client import RelayTransport
from tests.files.scenes import until
from tests.node.world import card_of

if TYPE_CHECKING:
    from mcp_a2a.ports import Link
    from mcp_a2a.protocol.did import PeerId
    from mcp_a2a.protocol.paths import TransportAddr

CROWD = 50
CPU_SECONDS = 60.0
"""Far above what it takes (16 s): a crowd that does not settle uses all there is."""


@dataclass
class Counted:
    """How many dials were begun, are under way, and were at most."""

    begun: int = 0
    under_way: int = 0
    most: int = 0
    failed: list[str] = field(default_factory=list)


class CountingTransport(DirectTransport):
    """A `DirectTransport` that counts."""

    def __init__(self, count: Counted) -> None:
        super().__init__("127.0.0.1", 0)
        self._count = count

    @override
    async def dial(self, peer: PeerId | None, address: TransportAddr, route: str) -> Link:
        count = self._count
        count.begun += 1
        count.under_way += 1
        count.most = max(count.most, count.under_way)
        try:
            return await super().dial(peer, address, route)
        except Exception as error:
            count.failed.append(str(error))
            raise
        finally:
            count.under_way -= 1


@asynccontextmanager
async def agent(home: Path, number: int, own: frozenset[str], count: Counted) -> AsyncIterator[Node]:
    """One of them, as `agent run` makes it, without mDNS."""
    name = f"agent-{number}"
    folder = home / name
    folder.mkdir()
    relays = RelayTransport()
    async with open_database(folder / "node.db", "test") as database:
        parts = NodeParts(
            identity=identity(number), identity_name=name, database=database, home=folder,
            transports=(CountingTransport(count), relays), lookups=(LocalLookup(home / "announce"),),
            card=card_of(name, "sing"), accept="trusted", wall_clock=time.time, uptime=time.monotonic,
            randomness=os.urandom, own_dids=lambda: own, relays=relays, networks=NetworkFolder(None),
            own_addresses=lambda port: (), near=lambda address: True,
        )  # fmt: skip
        async with run_node(parts) as node:
            yield node


def identity(number: int) -> Identity:
    return Identity(f"crowd {number}".encode().ljust(32, b"\0"))


def found(nodes: Sequence[Node]) -> list[int]:
    return [len(node.directory.present()) for node in nodes]


async def test_a_peer_is_greeted_with_the_advert_that_was_signed_before(tmp_path: Path) -> None:
    own = frozenset(str(identity(number).peer_id) for number in range(1))
    async with agent(tmp_path, 0, own, Counted()) as node:
        advert = node.own_advert.advert()
        assert node.own_advert.advert() is advert
        node.own_advert.card = card_of("other", "dance")
        changed = node.own_advert.advert()
        assert (changed.card.name, changed.seq > advert.seq) == ("other", True)


async def test_machines_that_do_not_answer_keep_no_other_from_being_dialled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_a2a.node.peers.dialer.TURN_SECONDS", 0.1)
    own = frozenset(str(identity(number).peer_id) for number in range(2))
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(40)]
        async with agent(tmp_path, 0, own, Counted()) as one:
            for number, listener in enumerate(silent):
                address = DirectAddr("127.0.0.1", listener.getsockname()[1])
                one.sighted(Sighting(identity(100 + number).peer_id, (address,), "test"))
            async with agent(tmp_path, 1, own, Counted()) as other:
                # A dial that is not answered takes 5 seconds.
                await until(lambda: found([one]) == found([other]) == [1], seconds=4)


@pytest.mark.slow
async def test_fifty_agents_in_one_process_find_each_other_and_settle(tmp_path: Path) -> None:
    raise_open_files(8_192)
    own = frozenset(str(identity(number).peer_id) for number in range(CROWD))
    nodes: list[Node] = []
    count = Counted()

    async def run(number: int) -> None:
        async with agent(tmp_path, number, own, count) as node:
            nodes.append(node)
            await anyio.sleep_forever()

    began = time.process_time()
    async with anyio.create_task_group() as tasks:
        for number in range(CROWD):
            tasks.start_soon(run, number)
        while len(nodes) < CROWD or found(nodes) != [CROWD - 1] * CROWD:
            assert time.process_time() - began < CPU_SECONDS, (found(nodes), count)
            await anyio.sleep(0.1)
        pairs = CROWD * (CROWD - 1) // 2
        # Six at a time, and on a busy machine six more for each second of the five that a dial may take.
        assert count.most <= 36, "a handshake that is begun is one that can be ended in time"
        assert not count.failed
        assert count.begun <= pairs * 1.05, "one link for each pair: its ends do not dial each other at once"
        dialled = count.begun
        assert sum(len(peer.links) for node in nodes for peer in node.directory) <= 2 * pairs * 1.05
        await anyio.sleep(1)  # something would follow now if it did not rest
        assert count.begun == dialled
        assert not any(node.dialer.busy for node in nodes)
        tasks.cancel_scope.cancel()

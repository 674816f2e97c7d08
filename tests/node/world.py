"""Whole nodes in one process: real stores in temporary folders, over the in-memory network."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.agents import GetAgentRequest
from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.api.request import A, Request
from mcp_a2a.api.tasks import ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.node.api import LocalApi
from mcp_a2a.node.node import Node
from mcp_a2a.node.running import run_node
from mcp_a2a.node.runtime.parts import NodeParts
from mcp_a2a.ports import Hooks, Sighting, Transport
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard, AgentSkill
from mcp_a2a.protocol.paths import DirectAddr, TransportAddr
from mcp_a2a.store.network_folder import NetworkFolder
from mcp_a2a.store.opening import open_database
from mcp_a2a.web_ports import WebCalls
from mcp_a2a_transports.relay.client import RelayTransport
from tests.transports.memory import MemoryNetwork


class Clock:
    """Wall time that a test can move, and the uptime that belongs to it."""

    def __init__(self) -> None:
        self.offset = 0.0
        self.passed = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset

    def uptime(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic() + self.passed

    def advance(self, seconds: float) -> None:
        """So much time passes; below zero, the clock is set back."""
        self.offset += seconds
        self.passed += max(0.0, seconds)

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.offset += seconds


class Unasked(LocalApi):
    """The API of a process that was started with --allow-strangers."""

    async def call(self, request: Request[A], /) -> A:
        return await super().call(waived(request))


ASKABLE = (SendTaskRequest, SendTaskBySkillRequest, ReplyRequest, AnswerRequest, GetAgentRequest, A2ASendRequest)
"""The questions that a person may have to consent to."""


def waived(request: Request[A]) -> Request[A]:
    """The request as such a process makes it."""
    if not isinstance(request, ASKABLE) or request.consent != "ask":
        return request
    return request.model_copy(update={"consent": "waived"})


@dataclass
class Person:
    """One running node and its API."""

    node: Node
    api: LocalApi

    @property
    def did(self) -> str:
        return str(self.node.context.me)

    @property
    def addresses(self) -> tuple[TransportAddr, ...]:
        return self.node.lookups.listening

    def sees(self, other: Person) -> None:
        """A lookup would have told it so."""
        self.node.sighted(Sighting(other.node.context.me, other.addresses, "test"))


@dataclass
class World:
    """A network, a folder, a clock, and who lives there."""

    folder: Path
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    clock: Clock = field(default_factory=Clock)
    own: set[str] = field(default_factory=set)
    """Keys that count as identities of one data folder."""
    lease_seconds: float = 900.0
    boot: str = ""
    """Names the start of everybody's machine, where they can tell."""
    places: list[DirectAddr] = field(default_factory=list)
    """Where everybody's machine is."""

    def identity(self, name: str) -> Identity:
        return Identity(name.encode().ljust(32, b"\0"))

    def did(self, name: str) -> str:
        return str(self.identity(name).peer_id)

    def back_up(self, name: str) -> None:
        """Keep a copy of a person's data folder as it is now."""
        shutil.copytree(self.folder / name, self.folder / "backup")

    def restore(self, name: str) -> None:
        """Put that copy in the place of the folder."""
        shutil.rmtree(self.folder / name)
        (self.folder / "backup").rename(self.folder / name)

    def make_own(self, *names: str) -> None:
        self.own |= {self.did(name) for name in names}

    @asynccontextmanager
    async def person(
        self,
        name: str,
        *skills: str,
        accept: str = "trusted",
        card: AgentCard | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        networks: Path | None = None,
        web: WebCalls | None = None,
        hooks: Hooks | None = None,
        asks: bool = False,
    ) -> AsyncIterator[Person]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        async with open_database(folder / "node.db", "test") as database:
            relays = RelayTransport()
            parts = NodeParts(
                identity=self.identity(name),
                identity_name=name,
                database=database,
                home=folder,
                transports=(transport or self.network.transport(name), relays),
                lookups=(),
                card=card or card_of(name, *skills),
                accept=accept,
                wall_clock=clock or self.clock,
                uptime=(clock or self.clock).uptime,
                randomness=os.urandom,
                own_dids=lambda: frozenset(self.own),
                relays=relays,
                networks=NetworkFolder(networks or folder),
                own_addresses=lambda port: tuple(self.places),
                near=lambda address: True,
                boot=self.boot,
                lease_seconds=self.lease_seconds,
                web=web,
                hooks=hooks,
            )
            async with run_node(parts) as node:
                yield Person(node, LocalApi(node) if asks else Unasked(node))


def card_of(name: str, *skills: str) -> AgentCard:
    """What an agent of that name says about itself."""
    return AgentCard(
        name=name,
        description=f"{name} is a test agent",
        skills=tuple(AgentSkill(id=skill, name=skill, description=f"Does {skill}") for skill in skills),
    )


async def acquainted(one: Person, other: Person) -> None:
    """Let two people know each other, cards and all."""
    one.sees(other)
    with anyio.fail_after(30):
        for person, seen in ((one, other), (other, one)):
            while True:
                changed = person.node.directory.changes.event()
                peer = person.node.directory.known(PeerId.parse_untrusted(seen.did))
                if peer is not None and peer.links and peer.advert is not None:
                    break
                await changed.wait()

"""What a test of a hostile carrier needs on every route: a conversation, and the promises that are always checked."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.api.inbox import AnswerRequest, CheckInboxRequest
from mcp_a2a.api.tasks import GetTaskRequest, SendTaskRequest
from mcp_a2a.node.delivery.outcomes import Outcomes
from mcp_a2a.protocol.advert import Advert
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.bundle import KeyBundle, KeyRing
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import Header, seal
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.protocol.model import AgentCard
from mcp_a2a.protocol.moment import Moment
from mcp_a2a.protocol.payload import MAX_HOP, AdvertBody, Payload
from mcp_a2a.store.journal import OutboxRow
from mcp_a2a.store.records import find_task
from tests.node.outsider import letter, task_letter
from tests.node.patience import set_patience
from tests.node.world import Person

MALLORY = Identity(b"mallory".ljust(32, b"?"))


def advert(to: PeerId) -> Payload:
    """Mallory introduces itself: anybody may, and it is receipted."""
    ring, now = KeyRing(MALLORY), time.time()
    ring.handle_timeout(now, os.urandom)
    card = AgentCard(name="mallory", description="")
    signed = Advert.sign(MALLORY, card, ring.current, (), seq=int(now * 1000), expires=int(now) + 3600)
    return letter("advert", MALLORY.peer_id, to, AdvertBody(advert=signed.to_text(), vouchers=()))


def passed_on_too_often(to: PeerId) -> Payload:
    """A task of Mallory's that is refused for good."""
    return task_letter(MALLORY.peer_id, to, hop=MAX_HOP)


def of_a_stranger(to: PeerId) -> Payload:
    """A task of Mallory's that is held."""
    return task_letter(MALLORY.peer_id, to)


BAITS = (advert, passed_on_too_often, of_a_stranger)


def bait_for(envelope: bytes, bundle: KeyBundle, make: Callable[[PeerId], Payload]) -> bytes:
    """A message of Mallory's under the id of somebody's envelope: its recipient signs for it, or against it."""
    header = Header.parse_untrusted(envelope)
    payload = make(header.to)
    return seal(MALLORY, payload.to_bytes(), bundle, header.envelope_id, payload.expires)


@dataclass
class Mischief:
    """Draws what a carrier does, until its budget is spent; from then on it is honest."""

    chances: random.Random
    budget: int
    done: list[str] = field(default_factory=list)
    over: anyio.Event = field(default_factory=anyio.Event)

    def draw(self, *deeds: str, often: float = 0.4) -> str | None:
        """One of these, or nothing."""
        if not self.budget or self.chances.random() > often:
            return None
        self.budget -= 1
        self.done.append(self.chances.choice(deeds))
        if not self.budget:
            self.over.set()
        return self.done[-1]


@dataclass
class Promises:
    """What must hold at every moment, whatever the carrier does."""

    broken: list[str] = field(default_factory=list)

    def watch(self, sender: Person, recipient: Person) -> None:
        """A message that counts as delivered is on record over there; and none is refused for good."""
        outcomes = sender.node.outbox._outcomes
        assert isinstance(outcomes, Outcomes)
        settle = outcomes.delivered

        def delivered(row: OutboxRow) -> None:
            record = recipient.node.context.database.read(lambda connection: find_task(connection, row.task))
            # An update of a task that is done says the final state once more: the first one is what is on record.
            if record is None or (row.type == "update" and not record.done and record.seq_in < row.seq):
                self.broken.append(f"a {row.type} counts as delivered that is not on record")
            settle(row)

        def refused(row: OutboxRow, name: str, code: str) -> None:
            self.broken.append(f"a {row.type} was refused for good by {name}: {code}")

        outcomes.delivered = delivered  # type: ignore[method-assign]  # the real one, watched
        outcomes.refused = refused  # type: ignore[method-assign]


@asynccontextmanager
async def answering(worker: Person) -> AsyncIterator[list[str]]:
    """Answers what comes into an inbox with its text backwards; the texts that came."""
    texts: list[str] = []

    async def work() -> None:
        while True:
            for item in (await worker.api.call(CheckInboxRequest(wait_seconds=30))).items:
                texts.append(item.text)
                said = AnswerRequest(task_id=item.task_id, status="completed", text=item.text[::-1])
                await worker.api.call(said)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        yield texts
        tasks.cancel_scope.cancel()


async def sent(person: Person, to: str, texts: list[str]) -> list[str]:
    """Tasks with these texts, under way."""
    requests = [SendTaskRequest(agent=to, message=text, wait_seconds=0) for text in texts]
    return [(await person.api.call(request)).task_id for request in requests]


async def answered(person: Person, task_ids: list[str], texts: list[str]) -> None:
    """Every one of these tasks gets its answer."""
    with anyio.fail_after(30):
        for task_id, text in zip(task_ids, texts, strict=True):
            while not (view := await person.api.call(GetTaskRequest(task_id=task_id, wait_seconds=30))).done:
                pass
            assert (view.state, view.text) == (Moment.COMPLETED, text[::-1])


async def nothing_waits(*people: Person) -> None:
    """Everything was signed for."""
    with anyio.fail_after(30):
        while any(len(person.node.outbox) for person in people):
            await anyio.lowlevel.checkpoint()


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for another try."""
    patch.setattr("mcp_a2a.node.peers.dialer.pause_after", lambda *_: 0.02)
    soon = Backoff(0.02, 0.02, jitter=0.0)
    set_patience(patch, retry=soon, put_off=soon, dial=soon, away=soon, elsewhere=Backoff(0.1, 0.1))
    set_patience(patch, answer=0.3, longest=0.1, held=0.1, held_relayed=0.1)

"""The promises of `ports.Transport` and `ports.Link`, kept by links through a real relay.

A file of its own beside `test_contract`, because half of the promises there are about somebody who listens. Through a
relay nobody does: a link leads to a mailbox, so it opens while its peer is away, its peer sees no link at all, nobody
hears a goodbye, and what comes in comes on a link that is not the one we submit on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from mcp_a2a.config import RelaySettings
from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Answer, Delivered, Held, Refused, Stored
from mcp_a2a.protocol.envelope import MAX_PAYLOAD, Envelope, seal
from mcp_a2a.protocol.paths import DirectAddr, RelayAddr
from mcp_a2a.protocol.receipt import receipt_is_valid
from mcp_a2a.protocol.relay_limits import WINDOW_FRAMES
from mcp_a2a.relaying import ServingRelay, serve_relay
from mcp_a2a_transports.relay.client import RelayTransport
from tests.transports.people import Witness, credentials, id_of, identity, ring, until


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[ServingRelay]:
    settings = RelaySettings(home=tmp_path, listen=":0", closed=False, rate=1_000_000, burst=1_000_000, rate_mib=10_000)
    async with serve_relay(settings) as relay:
        yield relay


@asynccontextmanager
async def home(
    relay: ServingRelay, name: str, witness: Witness | None = None
) -> AsyncIterator[tuple[RelayTransport, Witness]]:
    """Somebody with a session at the relay."""
    transport, seen = RelayTransport(), witness or Witness(name)
    transport.keep(relay.url, tuple)
    async with transport.open(credentials(name), seen):
        with anyio.fail_after(30):
            await transport.find(relay.url, identity(name).peer_id)  # answered once the session is up
        yield transport, seen


async def dialled(transport: RelayTransport, relay: ServingRelay, name: str) -> Link:
    return await transport.dial(identity(name).peer_id, RelayAddr(relay.url), "relay")


def envelope(number: int, to: str, payload: bytes = b"{}") -> bytes:
    return seal(identity("sender"), payload, ring(to).current, number.to_bytes(16), time.time() + 3600)


async def test_an_envelope_arrives_unchanged_and_its_receipt_comes_back(relay: ServingRelay) -> None:
    async with home(relay, "ben") as (_, of_ben), home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        sent = envelope(1, "ben")
        link.submit(sent)
        await until(lambda: of_ann.answers, of_ann)
        assert of_ben.received == [sent]
        (answer,) = of_ann.answers
        assert isinstance(answer, Delivered)
        assert receipt_is_valid(identity("ben").peer_id, answer.postmarks, answer.signature)
        assert link.rtt_seconds is not None


async def test_a_link_says_who_is_meant_and_that_a_relay_is_in_between(relay: ServingRelay) -> None:
    async with home(relay, "ben") as (_, of_ben), home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        assert of_ann.opened == [link]
        assert of_ben.opened == [], "a mailbox is not told who looks at it"
        assert (link.peer, link.bundle) == (identity("ben").peer_id, ring("ben").current)
        assert (link.route, link.address, link.is_relayed) == ("relay", relay.url, True)


async def test_a_second_dial_is_the_same_link(relay: ServingRelay) -> None:
    async with home(relay, "ben"), home(relay, "ann") as (ann, of_ann):
        assert await dialled(ann, relay, "ben") is await dialled(ann, relay, "ben")
        assert len(of_ann.opened) == 1


async def test_envelopes_arrive_in_the_order_they_were_submitted(relay: ServingRelay) -> None:
    async with home(relay, "ben") as (_, of_ben), home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        sent = [envelope(number, "ben") for number in range(200)]
        for one in sent:
            link.submit(one)
        await until(lambda: len(of_ann.answers) >= len(sent), of_ann)
        assert of_ben.received == sent


async def test_the_largest_envelope_fits(relay: ServingRelay) -> None:
    async with home(relay, "ben") as (_, of_ben), home(relay, "ann") as (ann, of_ann):
        largest = envelope(1, "ben", payload=bytes(MAX_PAYLOAD))
        (await dialled(ann, relay, "ben")).submit(largest)
        await until(lambda: of_ann.answers, of_ann)
        assert of_ben.received == [largest]


class Says(Witness):
    """Answers each envelope with the next of its words."""

    words: list[Answer]

    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        link.answer(self.words[len(self.received)])
        super().envelope_received(link, envelope)


async def test_held_and_refused_reach_the_submitter_with_all_they_say(relay: ServingRelay) -> None:
    says = Says("ben", signs=False)
    says.words = [
        Held(id_of(envelope(0, "ben")), bytes(64)),
        Refused(id_of(envelope(1, "ben")), "unknown_key", None, ring("ben").current),
        Refused(id_of(envelope(2, "ben")), "blocked", signature=bytes(64)),
    ]
    async with home(relay, "ben", says), home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        for number in range(len(says.words)):
            link.submit(envelope(number, "ben"))
        await until(lambda: len(of_ann.answers) == len(says.words), of_ann)
        assert of_ann.answers == says.words


async def test_for_who_is_away_it_is_stored_and_the_receipt_follows_when_it_is_back(relay: ServingRelay) -> None:
    async with home(relay, "ben"):
        pass
    async with home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        link.submit(envelope(1, "ben"))
        await until(lambda: of_ann.answers, of_ann)
        assert of_ann.answers == [Stored((1).to_bytes(16))]
        async with home(relay, "ben") as (_, of_ben):
            await until(lambda: len(of_ann.answers) == 2, of_ann)
            assert of_ben.received
            assert isinstance(of_ann.answers[1], Delivered)


async def test_a_receipt_waits_for_a_sender_that_is_away_itself(relay: ServingRelay) -> None:
    async with home(relay, "ben"):
        pass
    async with home(relay, "ann") as (ann, of_ann):
        (await dialled(ann, relay, "ben")).submit(envelope(1, "ben"))
        await until(lambda: of_ann.answers, of_ann)
    async with home(relay, "ben") as (_, of_ben):
        await until(lambda: of_ben.received, of_ben)
    async with home(relay, "ann") as (_, of_ann):
        await until(lambda: of_ann.answers, of_ann)
        assert isinstance(of_ann.answers[0], Delivered)


async def test_what_was_stored_can_be_asked_about(relay: ServingRelay) -> None:
    async with home(relay, "ben"):
        pass
    async with home(relay, "ann") as (ann, of_ann):
        (await dialled(ann, relay, "ben")).submit(envelope(1, "ben"))
        await until(lambda: of_ann.answers, of_ann)
    async with home(relay, "ann") as (ann, of_ann):
        (await dialled(ann, relay, "ben")).check([(1).to_bytes(16), (2).to_bytes(16)])
        await until(lambda: len(of_ann.answers) == 2, of_ann)
        known, unknown = sorted(of_ann.answers, key=lambda answer: isinstance(answer, Refused))
        assert known == Stored((1).to_bytes(16))
        assert isinstance(unknown, Refused)
        assert unknown.code == "unknown"


async def test_who_has_no_mailbox_cannot_be_dialled(relay: ServingRelay) -> None:
    async with home(relay, "ann") as (ann, of_ann):
        with pytest.raises(LinkError, match="no mailbox"):
            await dialled(ann, relay, "cat")
        assert of_ann.opened == []


async def test_dialling_oneself_is_a_link_error_that_says_so(relay: ServingRelay) -> None:
    async with home(relay, "ann") as (ann, of_ann):
        with pytest.raises(LinkError, match="our own key"):
            await dialled(ann, relay, "ann")
        assert of_ann.opened == []


async def test_what_was_submitted_before_the_transport_is_closed_is_still_sent(relay: ServingRelay) -> None:
    async with home(relay, "ben") as (_, of_ben):
        async with home(relay, "ann") as (ann, of_ann):
            link = await dialled(ann, relay, "ben")
            for number in range(20):
                link.submit(envelope(number, "ben"))
            started = anyio.current_time()
        assert anyio.current_time() - started < 10
        assert of_ann.closed == [(link, "we are leaving", False)]
        await until(lambda: len(of_ben.received) == 20, of_ben)


async def test_a_cancelled_transport_says_goodbye_too(relay: ServingRelay) -> None:
    with anyio.CancelScope() as scope:
        async with home(relay, "ann"):
            assert relay.listener.facts().connections == 1
            scope.cancel()
            await anyio.sleep_forever()
    with anyio.fail_after(30):
        while relay.listener.facts().connections:
            await anyio.lowlevel.checkpoint()


async def test_who_does_not_answer_gets_no_more_to_read_and_the_rest_waits_on_disk(relay: ServingRelay) -> None:
    async with home(relay, "ben", Witness("ben", signs=False)) as (_, of_ben), home(relay, "ann") as (ann, of_ann):
        link = await dialled(ann, relay, "ben")
        sent = [envelope(number, "ben") for number in range(WINDOW_FRAMES + 20)]
        for one in sent:
            link.submit(one)
        await until(lambda: len(of_ann.answers) == len(sent), of_ann)
        assert of_ben.received == sent[:WINDOW_FRAMES]
        assert {type(answer) for answer in of_ann.answers} == {Stored}, "what he has not answered is on disk"


async def test_a_relay_that_is_not_kept_cannot_be_dialled_and_nothing_else_can(relay: ServingRelay) -> None:
    async with home(relay, "ann") as (ann, _):
        with pytest.raises(LinkError, match="not a relay of ours"):
            await ann.dial(identity("ben").peer_id, RelayAddr("ws://127.0.0.1:1/"), "relay")
        assert ann.reaches(RelayAddr(relay.url))
        assert not ann.reaches(DirectAddr("127.0.0.1", 1))


async def test_a_closed_link_submits_nothing_and_the_others_go_on(relay: ServingRelay) -> None:
    async with home(relay, "ben"), home(relay, "cat") as (_, of_cat), home(relay, "ann") as (ann, of_ann):
        closed, other = await dialled(ann, relay, "ben"), await dialled(ann, relay, "cat")
        closed.close("no longer needed")
        closed.close("again")
        assert of_ann.closed == [(closed, "no longer needed", False)]
        with pytest.raises(LinkError):
            closed.submit(envelope(1, "ben"))
        other.submit(envelope(2, "cat"))
        await until(lambda: of_ann.answers, of_ann)
        assert of_cat.received


async def test_the_end_of_the_session_is_the_end_of_its_links_and_nobodys_goodbye(tmp_path: Path) -> None:
    settings = RelaySettings(home=tmp_path, listen=":0", closed=False)
    async with anyio.create_task_group() as tasks:
        ready, stop = anyio.Event(), anyio.Event()
        serving: list[ServingRelay] = []

        async def serve() -> None:
            async with serve_relay(settings) as relay:
                serving.append(relay)
                ready.set()
                await stop.wait()

        tasks.start_soon(serve)
        await ready.wait()
        async with home(serving[0], "ben"), home(serving[0], "ann") as (ann, of_ann):
            link = await dialled(ann, serving[0], "ben")
            started = anyio.current_time()
            stop.set()
            await until(lambda: of_ann.closed, of_ann)
            assert anyio.current_time() - started < 10
            assert [(which, goodbye) for which, _, goodbye in of_ann.closed] == [(link, False)]


async def test_a_transport_can_be_opened_again(relay: ServingRelay) -> None:
    transport = RelayTransport()
    transport.keep(relay.url, tuple)
    async with home(relay, "ben"):
        for _ in range(2):
            seen = Witness("ann")
            async with transport.open(credentials("ann"), seen):
                (await dialled(transport, relay, "ben")).submit(envelope(1, "ben"))
                await until(lambda: seen.answers, seen)  # noqa: B023


async def test_what_the_body_raises_comes_out_as_it_is(relay: ServingRelay) -> None:
    with pytest.raises(ZeroDivisionError):
        async with home(relay, "ann"):
            raise ZeroDivisionError


async def test_who_reconnects_while_the_old_connection_looks_open_gets_the_mail(relay: ServingRelay) -> None:
    async with (
        home(relay, "ben") as (_, of_old),
        home(relay, "ben") as (_, of_new),
        home(relay, "ann") as (ann, of_ann),
    ):
        started = anyio.current_time()
        (await dialled(ann, relay, "ben")).submit(envelope(1, "ben"))
        await until(lambda: of_ann.answers, of_ann)
        assert anyio.current_time() - started < 10
        assert (len(of_old.received), len(of_new.received)) == (0, 1)

"""Every promise of `ports.Transport` and `ports.Link`, kept by every transport there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import pytest

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.machine import PortInUseError
from mcp_a2a.ports import Credentials, Link, LinkHandler, Transport
from mcp_a2a.protocol.bundle import KeyRing
from mcp_a2a.protocol.control import Delivered, Held, Refused
from mcp_a2a.protocol.envelope import MAX_PAYLOAD, Envelope
from mcp_a2a.protocol.link import MAX_UNANSWERED
from mcp_a2a.protocol.paths import DirectAddr, RelayAddr, TransportAddr
from mcp_a2a.protocol.receipt import receipt_is_valid
from mcp_a2a_transports.direct import DirectTransport
from tests.protocol.people import NOW, Dice
from tests.transports.memory import MemoryNetwork
from tests.transports.people import Witness, credentials, envelope, id_of, identity, ring, until


@dataclass
class Maker:
    """Makes hosts that reach each other."""

    kind: str
    network: MemoryNetwork

    def host(self, name: str) -> Transport:
        """A transport of its own for each host."""
        if self.kind == "memory":
            return self.network.transport(name)
        return DirectTransport("127.0.0.1")

    def on_the_same_address(self, name: str, address: DirectAddr) -> Transport:
        """Another transport that wants to listen where one does already."""
        return self.network.transport(name) if self.kind == "memory" else DirectTransport("127.0.0.1", address.port)

    def nowhere(self, address: DirectAddr) -> DirectAddr:
        """An address of that kind where nobody listens any more."""
        return DirectAddr("nobody.memory", address.port) if self.kind == "memory" else address


@pytest.fixture(params=["memory", "direct", "direct on uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def anyio_backend(kind: str) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": kind.endswith("uvloop")}


@pytest.fixture
def maker(kind: str) -> Maker:
    return Maker(kind.split(maxsplit=1)[0], MemoryNetwork())


@asynccontextmanager
async def home(
    transport: Transport, name: str, handler: LinkHandler | None = None, papers: Credentials | None = None
) -> AsyncIterator[tuple[Transport, Witness, DirectAddr]]:
    """A running transport, its witness and its address."""
    witness = handler or Witness(name)
    async with transport.open(papers or credentials(name), witness) as (address,):
        assert isinstance(address, DirectAddr)
        yield transport, witness, address


@dataclass
class Two:
    """Ann has dialled Ben."""

    ann: Transport
    ben: Transport
    of_ann: Witness
    of_ben: Witness
    address: DirectAddr
    link: Link

    @property
    def bens_link(self) -> Link:
        return self.of_ben.opened[0]


@asynccontextmanager
async def linked(maker: Maker, ben: Witness | None = None) -> AsyncIterator[Two]:
    """Ann and Ben, with an open link."""
    async with (
        home(maker.host("ben"), "ben", ben) as (ben_transport, of_ben, address),
        home(maker.host("ann"), "ann") as (ann_transport, of_ann, _),
    ):
        link = await ann_transport.dial(identity("ben").peer_id, address, "direct")
        await until(lambda: of_ben.opened, of_ben)
        yield Two(ann_transport, ben_transport, of_ann, of_ben, address, link)


# --- opening --------------------------------------------------------------------------------------


async def test_dial_returns_a_link_that_the_handler_already_knows(maker: Maker) -> None:
    async with linked(maker) as two:
        assert two.of_ann.opened == [two.link]


async def test_both_ends_know_who_the_other_is_and_what_to_seal_to(maker: Maker) -> None:
    async with linked(maker) as two:
        assert (two.link.peer, two.link.bundle) == (identity("ben").peer_id, ring("ben").current)
        assert (two.bens_link.peer, two.bens_link.bundle) == (identity("ann").peer_id, ring("ann").current)


async def test_a_link_carries_the_route_it_was_dialled_by_and_an_address_for_people(maker: Maker) -> None:
    async with linked(maker) as two:
        # Dialled as "direct", but a link that does not leave this machine is a local one.
        assert two.link.route == ("local" if two.address.host == "127.0.0.1" else "direct")
        assert two.link.address == str(two.address)
        assert two.bens_link.address


async def test_the_round_trip_is_measured_right_after_opening(maker: Maker) -> None:
    async with linked(maker) as two:
        two.link.submit(envelope(1, "ben"))  # its answer comes after the pong
        await until(lambda: two.of_ann.answers, two.of_ann)
        assert two.link.rtt_seconds is not None
        assert 0 <= two.link.rtt_seconds < 30


async def test_a_dial_that_expects_nobody_in_particular_accepts_whoever_answers(maker: Maker) -> None:
    async with home(maker.host("ben"), "ben") as (_, _, address), home(maker.host("ann"), "ann") as (ann, _, _):
        assert (await ann.dial(None, address, "direct")).peer == identity("ben").peer_id


async def test_a_transport_reaches_the_addresses_it_yields_and_no_relay(maker: Maker) -> None:
    async with home(maker.host("ben"), "ben") as (ben, _, address):
        assert ben.reaches(address)
        assert not ben.reaches(RelayAddr("wss://relay.example"))


async def test_several_peers_are_served_at_once(maker: Maker) -> None:
    async with linked(maker) as two, home(maker.host("cat"), "cat") as (cat, _, _):
        await cat.dial(None, two.address, "direct")
        await until(lambda: len(two.of_ben.opened) == 2, two.of_ben)
        assert {link.peer for link in two.of_ben.opened} == {identity("ann").peer_id, identity("cat").peer_id}


# --- dials that fail ------------------------------------------------------------------------------


async def test_nobody_there_is_a_link_error_that_says_so(maker: Maker) -> None:
    async with home(maker.host("ben"), "ben") as (_, _, address):
        pass
    async with home(maker.host("ann"), "ann") as (ann, of_ann, _):
        with pytest.raises(LinkError, match="no program listens there"):
            await ann.dial(None, maker.nowhere(address), "direct")
        assert of_ann.story == []


async def test_another_key_than_the_expected_one_is_a_link_error_that_names_it(maker: Maker) -> None:
    async with (
        home(maker.host("ben"), "ben") as (_, of_ben, address),
        home(maker.host("ann"), "ann") as (ann, of_ann, _),
    ):
        with pytest.raises(LinkError, match=str(identity("ben").peer_id)):
            await ann.dial(identity("cat").peer_id, address, "direct")
        assert (of_ann.story, of_ben.story) == ([], [])


async def test_dialling_oneself_is_a_link_error_that_says_so(maker: Maker) -> None:
    async with home(maker.host("ann"), "ann") as (ann, of_ann, address):
        with pytest.raises(LinkError, match="our own key"):
            await ann.dial(None, address, "direct")
        assert of_ann.story == []


async def test_an_address_that_is_taken_is_a_port_in_use_error(maker: Maker) -> None:
    async with home(maker.host("ben"), "ben") as (_, _, address):
        with pytest.raises(PortInUseError, match=str(address.port)):
            async with home(maker.on_the_same_address("ben", address), "ben"):
                pytest.fail("two transports listen at one address")


async def test_a_closed_transport_dials_nobody(maker: Maker) -> None:
    ann = maker.host("ann")
    async with home(maker.host("ben"), "ben") as (_, _, address):
        async with home(ann, "ann"):
            pass
        with pytest.raises(LinkError):
            await ann.dial(None, address, "direct")


async def test_a_dial_that_is_given_up_leaves_nothing_behind(maker: Maker) -> None:
    async with (
        home(maker.host("ben"), "ben") as (_, of_ben, address),
        home(maker.host("ann"), "ann") as (ann, of_ann, _),
    ):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ann.dial(None, address, "direct")
        link = await ann.dial(None, address, "direct")
        await until(lambda: of_ben.opened, of_ben)
        assert of_ann.open_links == [link]


# --- envelopes and answers ------------------------------------------------------------------------


async def test_an_envelope_arrives_unchanged_and_its_receipt_comes_back(maker: Maker) -> None:
    async with linked(maker) as two:
        sent = envelope(1, "ben")
        two.link.submit(sent)
        await until(lambda: two.of_ann.answers, two.of_ann)
        assert two.of_ben.received == [sent]
        (answer,) = two.of_ann.answers
        assert isinstance(answer, Delivered)
        assert answer.envelopes == (id_of(sent),)
        assert receipt_is_valid(two.link.peer, answer.postmarks, answer.signature)


async def test_whoever_was_dialled_may_submit_as_well(maker: Maker) -> None:
    async with linked(maker) as two:
        two.bens_link.submit(envelope(1, "ann"))
        await until(lambda: two.of_ben.answers, two.of_ben)
        assert [id_of(sealed) for sealed in two.of_ann.received] == [(1).to_bytes(16)]


async def test_envelopes_arrive_in_the_order_they_were_submitted(maker: Maker) -> None:
    async with linked(maker) as two:
        sent = [envelope(number, "ben") for number in range(200)]
        for one in sent:
            two.link.submit(one)
        await until(lambda: len(two.of_ann.answers) == len(sent), two.of_ann)
        assert two.of_ben.received == sent


async def test_the_largest_envelope_fits(maker: Maker) -> None:
    async with linked(maker) as two:
        largest = envelope(1, "ben", payload=bytes(MAX_PAYLOAD))
        two.link.submit(largest)
        await until(lambda: two.of_ann.answers, two.of_ann)
        assert two.of_ben.received == [largest]


async def test_every_answer_reaches_the_submitter_with_all_it_says(maker: Maker) -> None:
    async with linked(maker, Witness("ben", signs=False)) as two:
        answers = [
            Held(id_of(envelope(0, "ben")), bytes(64)),
            Refused(id_of(envelope(1, "ben")), "busy", 2.5, ring("ben").current),
        ]
        for number, answer in enumerate(answers):
            two.link.submit(envelope(number, "ben"))
            await until(lambda: len(two.of_ben.received) > number, two.of_ben)  # noqa: B023  awaited here
            two.bens_link.answer(answer)
        await until(lambda: len(two.of_ann.answers) == 2, two.of_ann)
        assert two.of_ann.answers == answers


async def test_the_handler_hears_everything_in_the_order_of_the_wire(maker: Maker) -> None:
    async with linked(maker) as two:
        two.bens_link.submit(envelope(1, "ann"))
        two.link.submit(envelope(2, "ben"))
        await until(lambda: "answered" in two.of_ann.story, two.of_ann)
        two.bens_link.close("done")
        await until(lambda: two.of_ann.closed, two.of_ann)
        assert two.of_ann.story == ["opened", "received", "answered", "closed"]


async def test_who_does_not_answer_gets_no_more_to_read_and_catches_up_later(maker: Maker) -> None:
    async with linked(maker, Witness("ben", signs=False)) as two:
        sent = [envelope(number, "ben") for number in range(MAX_UNANSWERED + 100)]
        for one in sent:
            two.link.submit(one)
        await until(lambda: len(two.of_ben.received) > MAX_UNANSWERED, two.of_ben)
        await anyio.wait_all_tasks_blocked()
        assert len(two.of_ben.received) == MAX_UNANSWERED + 1
        two.of_ben.signs = True
        two.of_ben.sign(two.bens_link, *two.of_ben.received)
        await until(lambda: len(two.of_ben.received) == len(sent), two.of_ben)
        assert two.of_ben.received == sent


async def test_what_is_submitted_while_the_wire_is_full_follows_in_order(maker: Maker) -> None:
    async with linked(maker, Witness("ben", signs=False)) as two:
        sent = list[bytes]()
        with suppress(LinkError):
            while True:
                one = envelope(len(sent), "ben", payload=bytes(100_000))
                two.link.submit(one)
                sent.append(one)
                await anyio.lowlevel.checkpoint()
        two.of_ben.signs = True
        two.of_ben.sign(two.bens_link, *two.of_ben.received)
        await until(lambda: len(two.of_ben.received) == len(sent), two.of_ben)
        assert two.of_ben.received == sent


async def test_a_link_shows_the_key_bundle_that_was_current_when_it_opened(maker: Maker) -> None:
    rotating = KeyRing.load(identity("ann"), ring("ann").dump())
    papers = credentials("ann", lambda: rotating)
    async with (
        home(maker.host("ben"), "ben") as (_, of_ben, address),
        home(maker.host("ann"), "ann", papers=papers) as (ann, _, _),
    ):
        await ann.dial(None, address, "direct")
        rotating.handle_timeout(NOW + 90_000, Dice(b"new"))
        await ann.dial(None, address, "direct")
        await until(lambda: len(of_ben.opened) == 2, of_ben)
        assert [link.bundle for link in of_ben.opened] == [ring("ann").current, rotating.current]


# --- the end --------------------------------------------------------------------------------------


async def test_close_ends_the_link_at_both_ends_and_each_hears_it_once(maker: Maker) -> None:
    async with linked(maker) as two:
        two.link.close("no longer needed")
        two.link.close("again")
        await until(lambda: two.of_ben.closed, two.of_ben)
        await until(lambda: two.of_ann.closed, two.of_ann)
        assert two.of_ann.closed == [(two.link, "no longer needed", False)]
        ((_, _, goodbye),) = two.of_ben.closed
        assert not goodbye  # the peer still runs


async def test_a_closed_link_refuses_to_submit_and_ignores_answers(maker: Maker) -> None:
    async with linked(maker) as two:
        two.link.close("no longer needed")
        with pytest.raises(LinkError):
            two.link.submit(envelope(1, "ben"))
        two.link.answer(Held(bytes(16), bytes(64)))


async def test_what_was_submitted_before_the_close_is_still_sent(maker: Maker) -> None:
    async with linked(maker) as two:
        for number in range(20):
            two.link.submit(envelope(number, "ben"))
        two.link.close("that was all")
        await until(lambda: two.of_ben.closed, two.of_ben)
        assert len(two.of_ben.received) == 20


async def test_a_host_that_stops_says_goodbye_on_every_link_at_once(maker: Maker) -> None:
    async with home(maker.host("ann"), "ann") as (ann, of_ann, _):
        async with home(maker.host("ben"), "ben") as (_, of_ben, address):
            link = await ann.dial(None, address, "direct")
            await until(lambda: of_ben.opened, of_ben)
            started = anyio.current_time()
        assert anyio.current_time() - started < 10
        assert len(of_ben.closed) == 1
        await until(lambda: of_ann.closed, of_ann)
        assert of_ann.closed == [(link, "it said goodbye", True)]


async def test_a_cancelled_context_says_goodbye_too(maker: Maker) -> None:
    async with home(maker.host("ann"), "ann") as (ann, of_ann, _):
        with anyio.CancelScope() as scope:
            async with home(maker.host("ben"), "ben") as (_, _, address):
                await ann.dial(None, address, "direct")
                scope.cancel()
                await anyio.sleep_forever()
        await until(lambda: of_ann.closed, of_ann)
        assert of_ann.closed[0][2]


async def test_what_the_body_raises_comes_out_as_it_is(maker: Maker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with home(maker.host("ann"), "ann"):
            raise ZeroDivisionError


async def test_a_transport_can_be_opened_again(maker: Maker) -> None:
    ben = maker.host("ben")
    for _ in range(2):
        async with home(ben, "ben") as (_, of_ben, address), home(maker.host("ann"), "ann") as (ann, _, _):
            await ann.dial(identity("ben").peer_id, address, "direct")
            await until(lambda: of_ben.opened, of_ben)


# --- when a part of us fails ----------------------------------------------------------------------


class Clumsy(Witness):
    """A handler with a bug."""

    def envelope_received(self, link: Link, envelope: Envelope) -> None:
        super().envelope_received(link, envelope)
        if len(self.received) == 1:
            raise RuntimeError("a bug of ours")


async def test_a_handler_that_fails_costs_one_link_and_no_other(maker: Maker, caplog: pytest.LogCaptureFixture) -> None:
    async with linked(maker, Clumsy("ben")) as two, home(maker.host("cat"), "cat") as (cat, of_cat, _):
        other = await cat.dial(None, two.address, "direct")
        two.link.submit(envelope(1, "ben"))
        await until(lambda: two.of_ann.closed, two.of_ann)
        other.submit(envelope(2, "ben"))
        await until(lambda: of_cat.answers, of_cat)
        assert "a bug of ours" in caplog.text
        assert not of_cat.closed


async def test_the_newest_links_of_a_key_stay_and_its_oldest_makes_room(maker: Maker) -> None:
    async with (
        home(maker.host("ben"), "ben") as (_, of_ben, address),
        home(maker.host("ann"), "ann") as (ann, of_ann, _),
    ):
        links = [await ann.dial(None, address, "direct") for _ in range(6)]
        await until(lambda: of_ben.closed and of_ann.closed, of_ann)
        assert of_ann.open_links == links[1:]


def test_no_transport_reaches_every_kind_of_address() -> None:
    unknown: TransportAddr = RelayAddr("wss://relay.example")
    assert not any(transport.reaches(unknown) for transport in (DirectTransport(), MemoryNetwork().transport("a")))

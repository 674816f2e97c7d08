"""Sessions with relays: kept, renewed, lost, refused, given up; and what is heard on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from typing_extensions import override

from mcp_a2a.api.relay import RelayAdmitRequest, RelayRevokeRequest
from mcp_a2a.config import RelaySettings
from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.errors.networks import NotAdmittedError, RelayError, TicketError
from mcp_a2a.protocol.control import MAX_MEMBERSHIPS, Bye, ByeCode, Done, Failed, Presence, Role, Watch
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.handshake import Established, Handshake, Side, Target
from mcp_a2a.protocol.listing import LISTING_SIZES, Listing
from mcp_a2a.protocol.network import Network
from mcp_a2a.relay_admin import ask_relay
from mcp_a2a.relay_ports import Watched
from mcp_a2a.relaying import serve_relay
from mcp_a2a_transports.direct import DirectTransport
from mcp_a2a_transports.relay import watching
from mcp_a2a_transports.relay.client import RelayTransport
from tests.relay.scripted import EPOCH, Caller, ScriptedRelay
from tests.transports.people import Witness, credentials, envelope, identity, until
from tests.transports.relays import HOME, SHOP, ConnectionLimits, Listener, at_home, byes

ANN, BEN = identity("ann").peer_id, identity("ben").peer_id


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    async with ScriptedRelay().serve() as relay:
        yield relay


def entry(network: Network, revision: int, name: str = "ben") -> Listing:
    """Somebody's entry, as the relay keeps it: nothing of it is opened here."""
    return Listing(network.id, identity(name).peer_id, revision, 10, bytes(max(LISTING_SIZES) - 93), revision)


def list_entries(relay: ScriptedRelay, *listings: Listing) -> None:
    for listing in listings:
        relay.listings[listing.network, listing.peer] = listing
        relay.revision = max(relay.revision, listing.revision)


# --- watching -------------------------------------------------------------------------------------


async def test_what_a_relay_knows_of_every_network_is_told_in_the_order_of_the_wire(relay: ScriptedRelay) -> None:
    list_entries(relay, entry(SHOP, 1), entry(SHOP, 2, "cat"), entry(HOME, 3))
    async with at_home("ann", relay.url, SHOP, HOME) as ann:
        await until(lambda: len(ann.seen.syncs) == 2, ann.seen)
        assert ann.seen.story == [
            "relay opened", "listed", "listed", "presence", "synced", "listed", "presence", "synced",
        ]  # fmt: skip
        assert ann.seen.syncs == [(SHOP.id, EPOCH, 3), (HOME.id, EPOCH, 3)]
        assert relay.callers[ANN][0].networks == {SHOP.id, HOME.id}


async def test_what_is_known_already_is_not_told_again(relay: ScriptedRelay) -> None:
    list_entries(relay, entry(SHOP, 1), entry(SHOP, 2, "cat"))
    transport, seen = RelayTransport(), Listener("ann")
    transport.hear(seen)
    transport.keep(relay.url, lambda: [Watched(SHOP, EPOCH, 1)])
    async with transport.open(credentials("ann"), seen):
        await until(lambda: seen.syncs, seen)
        assert [listing.revision for listing in seen.listings] == [2]


async def test_what_changes_later_is_told_when_it_does(relay: ScriptedRelay) -> None:
    async with at_home("ann", relay.url, SHOP) as ann:
        await until(lambda: ann.seen.syncs, ann.seen)
        async with at_home("ben", relay.url, SHOP) as ben:
            await ben.transport.publish(relay.url, entry(SHOP, 9))
            await until(lambda: ann.seen.listings and BEN in ann.seen.online, ann.seen)
            assert (ann.seen.listings[0].peer, ann.seen.listings[0].seq) == (BEN, 9)
        await until(lambda: BEN not in ann.seen.online, ann.seen)


class Busy(ScriptedRelay):
    """Shows the shop only at the third request, and says when to come back, or does not."""

    retry_after: float | None = 0.0
    knocks = 0

    @override
    async def watch(self, caller: Caller, watch: Watch) -> None:
        self.knocks += watch.network == SHOP.id
        if watch.network == SHOP.id and self.knocks < 3:
            await caller.say(Failed(watch.number, "rate_limited", self.retry_after))
        else:
            await super().watch(caller, watch)


async def test_a_network_that_is_shown_later_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AGAIN_SECONDS", 0.0)
    async with Busy().serve() as relay, at_home("ann", relay.url, SHOP, HOME) as ann:
        await until(lambda: len(ann.seen.syncs) == 2, ann.seen)
        assert [network for network, _, _ in ann.seen.syncs] == [HOME.id, SHOP.id]
        assert (relay.knocks, ann.seen.story.count("relay opened")) == (3, 1)


async def test_a_network_that_is_never_shown_is_said_once_and_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Busy().serve() as relay:
        relay.retry_after = None
        async with at_home("ann", relay.url, SHOP, HOME) as ann:
            await until(lambda: ann.seen.syncs, ann.seen)
            await ann.transport.find(relay.url, ANN)
            assert (relay.knocks, len(ann.seen.syncs)) == (1, 1)
            assert "does not show us a network: we ask more often than it allows" in caplog.text


async def test_more_networks_than_one_session_shows_are_said_and_the_first_are_shown(
    relay: ScriptedRelay, caplog: pytest.LogCaptureFixture
) -> None:
    networks = [Network(bytes([number]) * 32) for number in range(MAX_MEMBERSHIPS + 1)]
    async with at_home("ann", relay.url, *networks) as ann:
        await until(lambda: len(ann.seen.syncs) == MAX_MEMBERSHIPS, ann.seen)
        assert relay.callers[ANN][0].networks == {network.id for network in networks[:MAX_MEMBERSHIPS]}
        assert "32 networks at most, of our 33" in caplog.text


# --- losing and renewing --------------------------------------------------------------------------


class Dumb(ScriptedRelay):
    """Says nothing any more, as behind a way that is gone."""

    is_dumb = False

    @override
    async def receive(self, caller: Caller, data: bytes) -> None:
        if not self.is_dumb:
            await super().receive(caller, data)


async def test_a_relay_that_gives_no_sign_of_life_when_it_is_asked_for_one_is_given_up() -> None:
    async with Dumb().serve() as relay, at_home("ann", relay.url, SHOP) as ann:
        relay.bundles[BEN] = credentials("ben").bundle()
        for asked in ("transport", "link"):
            asker = ann.transport if asked == "transport" else await ann.dial("ben")
            relay.is_dumb = True
            while not ann.seen.lost:  # what the relay said before may still be on its way
                asker.probe(0.0)
                await anyio.sleep(0.01)
            assert "no sign of life" in ann.seen.lost.pop()
            relay.is_dumb = False
            await until(lambda: ann.transport.states()[0].connected, ann.seen)


async def test_a_session_that_is_lost_is_followed_by_another(relay: ScriptedRelay) -> None:
    relay.bundles[BEN] = credentials("ben").bundle()
    async with at_home("ann", relay.url, SHOP) as ann:
        link = await ann.dial("ben")
        await relay.callers[ANN][0].socket.close()
        await until(lambda: ann.seen.story.count("relay opened") == 2, ann.seen)
        assert ann.seen.closed == [(link, "the connection was lost", False)]
        assert ann.seen.lost == ["the connection was lost"]
        again = await ann.dial("ben")
        assert again is not link
        with pytest.raises(LinkError):
            link.submit(envelope(1, "ben"))


class SlowDoor(ConnectionLimits):
    """Takes its time with the answer to the HTTP request."""

    @override
    async def _answer_call(self, request: web.Request) -> web.WebSocketResponse:
        await self.wait()
        return await super()._answer_call(request)


class SlowHands(ConnectionLimits):
    """Takes its time with the handshake."""

    @override
    async def shake_hands(self, socket: web.WebSocketResponse) -> Caller | None:
        await self.wait()
        return await super().shake_hands(socket)


SLOW = pytest.mark.parametrize("kind", [SlowDoor, SlowHands])


@SLOW
async def test_networks_that_change_while_a_relay_is_connected_are_those_that_are_shown(
    kind: type[ConnectionLimits],
) -> None:
    async with kind().serve() as relay, at_home("ann", relay.url, SHOP) as ann:
        await relay.arrived.wait()
        for network in (SHOP, HOME):
            ann.transport.keep(relay.url, lambda: [Watched(network)])  # noqa: B023  the last one counts
        relay.opened.set()
        await until(lambda: ann.seen.syncs, ann.seen)
        assert [network for network, _, _ in ann.seen.syncs] == [HOME.id]
        await ann.transport.find(relay.url, ANN)
        assert ann.detail == "on"


@SLOW
async def test_a_relay_that_is_dropped_while_it_is_connected_is_left_alone(kind: type[ConnectionLimits]) -> None:
    async with kind().serve() as relay, at_home("ann", relay.url, SHOP) as ann:
        await relay.arrived.wait()
        ann.transport.drop(relay.url)
        relay.opened.set()
        with pytest.raises(RelayError, match="not a relay of ours"):
            await ann.transport.find(relay.url, ANN)
        assert ann.transport.states() == ()
    assert (ann.seen.story, relay.came) == ([], 1)


@SLOW
async def test_a_transport_closes_at_once_while_a_relay_is_connected(kind: type[ConnectionLimits]) -> None:
    async with kind().serve() as relay:
        async with at_home("ann", relay.url):
            await relay.arrived.wait()
            started = anyio.current_time()
        assert anyio.current_time() - started < 10
        relay.opened.set()


@SLOW
async def test_a_dial_that_is_given_up_leaves_the_session_and_no_link(kind: type[ConnectionLimits]) -> None:
    async with kind().serve() as relay, at_home("ann", relay.url) as ann:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ann.dial("ben")
        relay.opened.set()
        with pytest.raises(LinkError, match="no mailbox"):
            await ann.dial("ben")
        assert ann.seen.opened == []


async def test_a_session_with_other_networks_takes_the_place_of_the_one_before(relay: ScriptedRelay) -> None:
    async with at_home("ann", relay.url, SHOP) as ann:
        await until(lambda: ann.seen.syncs, ann.seen)
        ann.transport.keep(relay.url, lambda: [Watched(SHOP), Watched(HOME)])
        await ann.transport.publish(relay.url, entry(HOME, 1, "ann"))
        await until(lambda: len(ann.seen.syncs) == 3, ann.seen)
        assert ann.seen.lost == [], "nothing was lost that somebody should be told about"
        assert byes(relay) == [ByeCode.CLOSED]


async def test_a_relay_that_is_dropped_hears_goodbye_and_its_links_end(relay: ScriptedRelay) -> None:
    relay.bundles[BEN] = credentials("ben").bundle()
    async with at_home("ann", relay.url, SHOP) as ann:
        link = await ann.dial("ben")
        ann.transport.drop(relay.url)
        await until(lambda: ann.seen.closed, ann.seen)
        assert ann.seen.closed == [(link, "we left its networks", False)]
        with pytest.raises(LinkError, match="not a relay of ours"):
            await ann.dial("ben")
    assert byes(relay) == [ByeCode.LEAVING]


async def test_several_relays_are_kept_at_once_and_one_that_is_away_does_not_matter(relay: ScriptedRelay) -> None:
    async with ScriptedRelay().serve() as other:
        pass
    async with at_home("ann", relay.url, SHOP) as ann:
        ann.transport.keep(other.url, lambda: [Watched(HOME)])
        await until(lambda: ann.seen.lost and ann.seen.syncs, ann.seen)
        states = {state.url: (state.connected, state.detail) for state in ann.transport.states()}
        assert states == {
            relay.url: (True, "on"),
            other.url: (False, "no program listens there (connection refused)"),
        }


# --- pauses ---------------------------------------------------------------------------------------


async def test_a_question_does_not_wait_for_the_end_of_a_pause(relay: ScriptedRelay) -> None:
    async with ScriptedRelay(relay.identity).serve() as first:
        url, port = first.url, first.port
    async with at_home("ann", url, chance=lambda: 1.0) as ann:  # the first pause takes three seconds
        await until(lambda: ann.seen.lost, ann.seen)
        async with first.serve(port):
            started = anyio.current_time()
            assert await ann.transport.find(url, ANN) is not None
            assert anyio.current_time() - started < 2.5


async def test_a_question_to_a_relay_that_is_away_is_answered_by_the_first_attempt(relay: ScriptedRelay) -> None:
    async with ScriptedRelay().serve() as gone:
        pass
    async with at_home("ann", gone.url, chance=lambda: 1.0) as ann:
        await until(lambda: ann.seen.lost, ann.seen)
        started = anyio.current_time()
        with pytest.raises(RelayError, match="no program listens there"):
            await ann.transport.find(gone.url, ANN)
        assert anyio.current_time() - started < 2.5
        assert len(ann.seen.lost) == 2


class Refusing(ScriptedRelay):
    """Lets nobody in, in one of several ways."""

    code = ByeCode.NOT_ADMITTED
    after_welcome = True
    came = 0

    @override
    async def shake_hands(self, socket: web.WebSocketResponse) -> Caller | None:
        self.came += 1
        caller = await super().shake_hands(socket) if self.after_welcome else None
        if caller is not None:
            await caller.say(Bye(self.code))
        else:
            await socket.send_str(encode(Bye(self.code)))
        await socket.close()
        return caller


@pytest.mark.parametrize("after_welcome", [True, False])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ByeCode.NOT_ADMITTED, "closed relay, and neither our key nor a network of ours was admitted"),
        (ByeCode.REVOKED, "revoked"),
    ],
)
async def test_who_is_not_wanted_hears_why_and_asks_rarely(code: ByeCode, reason: str, *, after_welcome: bool) -> None:
    async with Refusing().serve() as relay:
        relay.code, relay.after_welcome = code, after_welcome
        async with at_home("ann", relay.url, SHOP) as ann:  # with pauses of no time, if it were not hopeless
            await until(lambda: ann.seen.lost, ann.seen)
            assert reason in ann.seen.lost[0]
            assert reason in ann.detail
            listing = entry(SHOP, 1, "ann")
            for ask in (
                lambda: ann.transport.publish(relay.url, listing),
                lambda: ann.transport.find(relay.url, BEN),
                lambda: ann.transport.offer(relay.url, SHOP.id, bytes(16), b"", 1, 10),
                lambda: ann.transport.claim(relay.url, bytes(16)),
                lambda: ann.transport.try_out(relay.url),
            ):
                with pytest.raises(NotAdmittedError, match=reason):
                    await ask()
            assert relay.came == 6, "once by itself, and once for each question"


async def test_a_relay_with_another_key_than_the_pinned_one_is_asked_rarely(relay: ScriptedRelay) -> None:
    elsewhere = relay.url.replace(str(relay.identity.peer_id), str(BEN))
    async with at_home("ann", elsewhere, chance=lambda: 0.0) as ann:
        await until(lambda: ann.seen.lost, ann.seen)
        for _ in range(5):  # meanwhile it would have tried many times, with pauses of no time
            await ann.transport.try_out(relay.url)
        assert len(ann.seen.lost) == 1
        with pytest.raises(RelayError, match=f"another agent answers there: {relay.identity.peer_id}"):
            await ann.transport.find(elsewhere, BEN)
        assert len(ann.seen.lost) == 2, "somebody asked"


async def test_an_agent_in_the_place_of_a_relay_is_said(relay: ScriptedRelay) -> None:
    async with DirectTransport("127.0.0.1").open(credentials("ben"), Witness("ben")) as (address,):
        url = f"ws://{address}/#{BEN}"
        async with at_home("ann", url) as ann:
            await until(lambda: ann.seen.lost, ann.seen)
            assert ann.seen.lost == ["an agent answers there, not a relay"]


class ProvesNothing(ScriptedRelay):
    """Names a key that it has not."""

    @override
    async def shake_hands(self, socket: web.WebSocketResponse) -> Caller | None:
        handshake = Handshake(Side.LISTENER, self.identity, self.ring.current, bytes(32), Target(role=Role.RELAY))
        await socket.send_str(encode(handshake.challenge))
        step = handshake.receive_untrusted(decode_untrusted(await socket.receive_str()))
        assert isinstance(step, Established)
        assert step.reply is not None
        await socket.send_str(encode(replace(step.reply, signature=bytes(64))))
        await socket.receive()
        return None


async def test_a_relay_that_cannot_prove_its_key_gets_no_session() -> None:
    async with ProvesNothing().serve() as relay, at_home("ann", relay.url) as ann:
        await until(lambda: ann.seen.lost, ann.seen)
        assert ann.seen.lost == ["its proof of its key is wrong"]


# --- closed relays, as they are ---------------------------------------------------------------------


async def test_a_closed_relay_serves_who_was_admitted_and_says_so_to_others(tmp_path: Path) -> None:
    async with (
        serve_relay(RelaySettings(home=tmp_path, listen=":0", closed=True)) as relay,
        at_home("ann", relay.url, kept=False) as ann,
    ):
        with pytest.raises(NotAdmittedError, match="closed relay"):
            await ann.transport.try_out(relay.url)
        with pytest.raises(TicketError, match="does not know it"):
            await ann.transport.claim(relay.url, bytes(16))
        await ask_relay(tmp_path, RelayAdmitRequest(member=str(SHOP.id)))
        with pytest.raises(NotAdmittedError, match="closed relay"):
            await ann.transport.try_out(relay.url)
        ann.transport.keep(relay.url, lambda: [Watched(SHOP)])
        assert await ann.transport.try_out(relay.url) < 5, "now it is shown the network that was admitted"
        await until(lambda: ann.seen.syncs, ann.seen)


async def test_who_is_revoked_hears_it_at_once(tmp_path: Path) -> None:
    async with (
        serve_relay(RelaySettings(home=tmp_path, listen=":0", closed=False)) as relay,
        at_home("ann", relay.url, SHOP) as ann,
    ):
        await until(lambda: ann.seen.syncs, ann.seen)
        await ask_relay(tmp_path, RelayRevokeRequest(member=str(ANN)))
        with anyio.fail_after(30):
            await until(lambda: ann.seen.lost, ann.seen)
        assert "revoked" in ann.detail


# --- relays that break the protocol ------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        "null",
        "[]",
        "{}",
        "[" * 60_000,
        "x" * 70_000,
        '{"t":"hello"}',
        '{"t":"found"}',
        '{"t":"done","n":-1}',
        '{"t":"done","n":1.5,"epoch":0,"rev":0}',
        '{"t":"presence","net":"did:key:z6Mk","on":[],"off":[]}',
        '{"t":"watch","n":1}',
        b"",
        b"A2L\x01" + bytes(100),
        b"\xff" * 300_000,
    ],
    ids=range(14),
)
async def test_a_relay_that_breaks_the_protocol_is_left_and_tried_again(garbage: str | bytes) -> None:
    class Garbage(ScriptedRelay):
        came = 0

        @override
        async def welcome(self, caller: Caller) -> None:
            self.came += 1
            if self.came == 1:
                raw = garbage if isinstance(garbage, bytes) else garbage.encode()
                await caller.socket.send_bytes(caller.keys.tagged(raw))
            await super().welcome(caller)

    async with Garbage().serve() as relay, at_home("ann", relay.url) as ann:
        await until(lambda: ann.seen.story.count("relay opened") == 2, ann.seen)
        assert len(ann.seen.lost) == 1
        assert "broke the protocol" in ann.seen.lost[0]


async def test_news_that_nobody_asked_for_hurts_nobody() -> None:
    class Gossip(ScriptedRelay):
        @override
        async def welcome(self, caller: Caller) -> None:
            for number in range(50):
                await caller.say(Done(number + 100))
                await caller.say(Failed(number + 200, "unknown"))
                await caller.say(Presence(SHOP.id, (BEN,), ()))
                await caller.say(entry(SHOP, number).to_bytes())
            await super().welcome(caller)

    async with Gossip().serve() as relay, at_home("ann", relay.url, kept=False) as ann:
        assert await ann.transport.try_out(relay.url) < 5
        assert ann.seen.story == []


async def test_a_bug_of_ours_ends_the_session_and_not_the_transport(
    relay: ScriptedRelay, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(Listener):
        def listed(self, url: str, listing: Listing) -> None:
            super().listed(url, listing)
            if len(self.listings) == 1:
                raise RuntimeError("a bug of ours")

    list_entries(relay, entry(SHOP, 1))
    async with at_home("ann", relay.url, SHOP, seen=Clumsy("ann")) as ann:
        await until(lambda: ann.seen.syncs, ann.seen)
        assert ann.seen.lost == ["our own handler failed"]
        assert "a bug of ours" in caplog.text


async def test_a_url_that_is_none_cannot_be_kept() -> None:
    with pytest.raises(ConfigurationError):
        RelayTransport().keep("http://relay.example/", list)

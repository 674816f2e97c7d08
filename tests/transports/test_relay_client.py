"""What a node asks of its relays, and the links to mailboxes there, with relays that are honest and that are not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import anyio
import pytest
from typing_extensions import override

from mcp_a2a.errors.delivery import LinkError
from mcp_a2a.errors.networks import RelayError, TicketError
from mcp_a2a.ports import Link
from mcp_a2a.protocol.bundle import VALID_SECONDS, KeyRing
from mcp_a2a.protocol.control import (
    Answer,
    Bye,
    ByeCode,
    Check,
    Claimed,
    Control,
    Delivered,
    Done,
    Failed,
    Found,
    Frame,
    Held,
    Refused,
    Stored,
)
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import MAX_PAYLOAD
from mcp_a2a.protocol.frames import decode_untrusted
from mcp_a2a.protocol.link import MAX_UNANSWERED
from mcp_a2a.protocol.listing import Listing
from mcp_a2a.protocol.paths import RelayAddr
from mcp_a2a.protocol.receipt import MAX_POSTMARKS, sign_receipt
from mcp_a2a_transports.relay import dispatches, questions, session
from mcp_a2a_transports.relay.client import RelayTransport
from tests.protocol.people import NOW, Dice, mark
from tests.relay.scripted import Caller, ScriptedRelay
from tests.transports.people import credentials, envelope, identity, ring, until
from tests.transports.relays import SHOP, Home, Listener, at_home

ANN, BEN = identity("ann").peer_id, identity("ben").peer_id


class Puppet(ScriptedRelay):
    """Has mailboxes for Ben and Cat. Says what it is told to, and only notes what is deposited."""

    def __init__(self) -> None:
        super().__init__()
        self.bundles = {identity(name).peer_id: ring(name).current for name in ("ben", "cat")}
        self.replies: Callable[[int], list[Control]] | None = None
        self.deposits: list[bytes] = []
        self.deposited = anyio.Event()

    @override
    async def deposit(self, caller: Caller, envelope: bytes, envelope_id: bytes) -> None:
        self.deposits.append(envelope_id)
        self.deposited.set()

    @override
    async def asked(self, caller: Caller, request: Frame) -> None:
        if self.replies is None or isinstance(request, Check):
            await super().asked(caller, request)
            return
        for reply in self.replies(request.number):  # type: ignore[union-attr]
            await caller.say(reply)

    @override
    async def publish(self, caller: Caller, listing: Listing) -> None:
        for reply in (self.replies or (lambda number: [Done(number)]))(listing.revision):
            await caller.say(reply)

    async def say(self, *frames: Control) -> None:
        """To Ann."""
        for frame in frames:
            await self.callers[ANN][-1].say(frame)

    async def noted(self, count: int) -> None:
        """Wait for so many deposits."""
        with anyio.fail_after(30):
            while len(self.deposits) < count:
                self.deposited = anyio.Event()
                await self.deposited.wait()


@pytest.fixture
async def relay() -> AsyncIterator[Puppet]:
    async with Puppet().serve() as relay:
        yield relay


@pytest.fixture
async def ann(relay: Puppet) -> AsyncIterator[Home]:
    async with at_home("ann", relay.url) as home:
        await home.connected()
        yield home


# --- questions ------------------------------------------------------------------------------------


async def publish(ann: Home) -> object:
    await ann.transport.publish(ann.url, Listing(SHOP.id, ANN, 1, 10, bytes(64)))
    return None


async def offer(ann: Home) -> object:
    await ann.transport.offer(ann.url, SHOP.id, bytes(16), b"sealed", 1, 10)
    return None


async def claim(ann: Home) -> object:
    return await ann.transport.claim(ann.url, bytes(16))


async def find(ann: Home) -> object:
    return await ann.transport.find(ann.url, BEN)


async def try_out(ann: Home) -> object:
    return await ann.transport.try_out(ann.url)


EVERY = pytest.mark.parametrize("ask", [publish, offer, claim, find], ids=lambda ask: ask.__name__)


@EVERY
@pytest.mark.parametrize(
    ("code", "retry_after", "sentence"),
    [
        ("not_member", None, "it was not shown that we are in that network"),
        ("stale", None, "it has a newer entry of ours"),
        ("full", 60.0, "the network has as much there as it may; try again in 60 s"),
        ("rate_limited", 2.5, "we ask more often than it allows; try again in 2 s"),
        ("rate_limited", 0.1, "try again in 1 s"),
        ("storage_full", None, "its disk is full"),
        ("busy", None, "it has too much to do"),
        ("tomorrow", None, "it answered 'tomorrow'"),
    ],
)
async def test_a_refusal_is_a_sentence(
    relay: Puppet, ann: Home, ask: Callable[[Home], object], code: str, retry_after: float | None, sentence: str
) -> None:
    relay.replies = lambda number: [Failed(number, code, retry_after)]
    with pytest.raises(RelayError, match=sentence) as refused:
        await ask(ann)
    assert refused.value.url == relay.url
    assert ann.seen.lost == [], "a refusal is no reason to leave"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("used", "used as often as it may be"),
        ("expired", "by the clock of its relay it has expired"),
        ("unknown", "its relay does not know it"),
    ],
)
async def test_a_ticket_that_is_not_good_any_more_says_which_way(
    relay: Puppet, ann: Home, code: str, sentence: str
) -> None:
    relay.replies = lambda number: [Failed(number, code)]
    with pytest.raises(TicketError, match=sentence):
        await claim(ann)


@EVERY
@pytest.mark.parametrize(
    "lie",
    [
        lambda number: Claimed(number, b"sealed"),
        Done,
        lambda number: Found(number, ring("cat").current, online=True),
    ],
    ids=["claimed", "done", "found another"],
)
async def test_a_reply_to_another_question_is_no_reply(
    relay: Puppet, ann: Home, ask: Callable[[Home], object], lie: Callable[[int], Control]
) -> None:
    relay.replies = lambda number: [lie(number)]
    fits = (isinstance(lie(1), Claimed) and ask is claim) or (isinstance(lie(1), Done) and ask in (publish, offer))
    if fits:
        await ask(ann)
        return
    with pytest.raises(RelayError, match="does not fit what was asked"):
        await ask(ann)


async def test_only_the_first_of_several_replies_counts(relay: Puppet, ann: Home) -> None:
    relay.replies = lambda number: [Failed(number + 1, "full"), Claimed(number, b"one"), Claimed(number, b"two")]
    assert await claim(ann) == b"one"
    relay.replies = lambda number: [Claimed(number - 1, b"late"), Claimed(number, b"three")]
    assert await claim(ann) == b"three"


@EVERY
async def test_a_relay_that_does_not_reply_is_waited_for_five_seconds_and_no_longer(
    relay: Puppet, ann: Home, ask: Callable[[Home], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert questions.REPLY_SECONDS == 5.0
    monkeypatch.setattr(questions, "REPLY_SECONDS", 0.05)
    relay.replies = lambda _: []
    with pytest.raises(RelayError, match="no reply within"):
        await ask(ann)


@EVERY
async def test_the_end_of_the_session_is_the_end_of_waiting(
    relay: Puppet, ann: Home, ask: Callable[[Home], object]
) -> None:
    relay.replies = lambda _: [Bye(ByeCode.SLOW)]
    with anyio.fail_after(30), pytest.raises(RelayError, match="we read too slowly"):
        await ask(ann)


async def test_questions_of_many_at_once_get_each_their_own_reply(relay: Puppet, ann: Home) -> None:
    found: dict[str, object] = {}

    async def look(name: str) -> None:
        found[name] = await ann.transport.find(ann.url, identity(name).peer_id)

    async with anyio.create_task_group() as tasks:
        for name in ("ben", "cat", "dan", "ann"):
            tasks.start_soon(look, name)
    assert found == {
        "ben": ring("ben").current,
        "cat": ring("cat").current,
        "dan": None,
        "ann": ring("ann").current,
    }
    assert relay.bundles[ANN] == ring("ann").current


async def test_a_relay_that_does_not_read_is_said_and_not_waited_for(relay: Puppet, ann: Home) -> None:
    link = await ann.dial("ben")
    largest, taken = envelope(1, "ben", payload=bytes(MAX_PAYLOAD)), count()
    with pytest.raises(LinkError, match="full"):
        for _ in taken:  # with no chance for the relay to read any of them
            link.submit(largest)
    with anyio.fail_after(30), pytest.raises(RelayError, match="reads more slowly than we write"):
        await find(ann)
    await relay.noted(next(taken) - 1)
    assert await find(ann) is not None


async def test_a_ticket_is_fetched_where_no_session_is_kept(relay: Puppet) -> None:
    relay.invitations[bytes(16)] = (b"sealed", 1, set())
    async with at_home("ann", relay.url, kept=False) as ann:
        assert await claim(ann) == b"sealed"
        assert await try_out(ann) is not None
        assert ann.seen.story == []
    async with at_home("ann", relay.url) as ann:
        await ann.connected()
        came = [frame for frame in relay.seen if '"hello"' in str(frame)]
        assert await claim(ann) == b"sealed"
        assert came == [frame for frame in relay.seen if '"hello"' in str(frame)], "the session that is kept will do"


@pytest.mark.parametrize("ask", [claim, try_out], ids=lambda ask: ask.__name__)
async def test_a_relay_that_is_not_there_is_said(ask: Callable[[Home], object]) -> None:
    async with ScriptedRelay().serve() as gone:
        pass
    async with at_home("ann", gone.url, kept=False) as ann:
        with pytest.raises(RelayError, match="no program listens there"):
            await ask(ann)


@pytest.mark.parametrize("ask", [publish, offer, claim, find, try_out], ids=lambda ask: ask.__name__)
async def test_a_transport_that_is_closed_asks_nobody(relay: Puppet, ask: Callable[[Home], object]) -> None:
    async with at_home("ann", relay.url) as ann:
        await ann.connected()
    with pytest.raises(RelayError):
        await ask(ann)
    with pytest.raises(LinkError):
        await ann.dial("ben")


async def test_trying_out_leaves_the_session_that_is_kept_alone(relay: Puppet, ann: Home) -> None:
    link = await ann.dial("ben")
    assert await try_out(ann) is not None
    assert relay.callers[ANN][0].socket.closed is False
    link.submit(envelope(1, "ben"))
    assert ann.seen.story == ["relay opened", "opened"]


# --- links ----------------------------------------------------------------------------------------


async def test_an_answer_comes_back_to_the_link_that_its_envelope_went_out_on(relay: Puppet, ann: Home) -> None:
    heard: list[tuple[PeerId, Answer]] = []
    note = ann.seen.answer_received
    ann.seen.answer_received = lambda link, answer: (heard.append((link.peer, answer)), note(link, answer))[1]  # type: ignore[method-assign]
    ben, cat = await ann.dial("ben"), await ann.dial("cat")
    ben.submit(envelope(1, "ben"))
    cat.submit(envelope(2, "cat"))
    ben.submit(envelope(3, "ben"))
    one, two, three, other = (number.to_bytes(16) for number in (1, 2, 3, 99))
    answers: list[Answer] = [
        Stored(two),
        Refused(one, "mailbox_full", 5.0),
        Delivered((mark(two), mark(three)), bytes(64)),
        Held(two, bytes(64)),
        Delivered((mark(other),), bytes(64)),
    ]
    await relay.say(*answers)
    await until(lambda: len(heard) == 6, ann.seen)
    relay_key = relay.identity.peer_id
    assert heard[:2] == [(cat.peer, answers[0]), (ben.peer, answers[1])]
    assert set(heard[2:4]) == {(cat.peer, answers[2]), (ben.peer, answers[2])}, "one frame, and each link hears it once"
    assert heard[4:] == [(relay_key, answers[3]), (relay_key, answers[4])], "what is not remembered still counts"


@dataclass(eq=False)
class Where(Listener):
    """Also writes down which links answers came on."""

    links: list[Link] = field(default_factory=list)

    @override
    def answer_received(self, link: Link, answer: Answer) -> None:
        self.links.append(link)
        super().answer_received(link, answer)


async def test_what_answers_late_or_was_never_sent_by_us_comes_on_a_link_of_the_relay(relay: Puppet) -> None:
    async with at_home("ann", relay.url, seen=Where("ann")) as ann:
        await ann.connected()
        await relay.say(Delivered((bytes(48),), bytes(64)))
        await until(lambda: ann.seen.answers, ann.seen)
        assert isinstance(ann.seen, Where)
        (link,) = ann.seen.links
        assert (link.peer, link.is_relayed, link.address) == (relay.identity.peer_id, True, relay.url)
        assert link.bundle == relay.ring.current
        link.close("whatever")
        for forbidden in (lambda: link.submit(envelope(1, "ben")), lambda: link.check([bytes(16)])):
            with pytest.raises(LinkError, match="only brings mail"):
                forbidden()
        assert (ann.seen.opened, ann.seen.closed) == ([], [])


async def test_the_oldest_envelopes_are_forgotten_and_their_answers_still_count(
    relay: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatches, "MAX_REMEMBERED", 3)
    async with at_home("ann", relay.url, seen=Where("ann")) as ann:
        link = await ann.dial("ben")
        for number in (1, 2, 3, 1, 4):  # the first is sent again, so it is the second that is oldest
            link.submit(envelope(number, "ben"))
        await relay.say(*(Refused(number.to_bytes(16), "busy", 1.0) for number in (1, 2, 3, 4)))
        await until(lambda: len(ann.seen.answers) == 4, ann.seen)
        assert isinstance(ann.seen, Where)
        assert [via is link for via in ann.seen.links] == [True, False, True, True]


async def test_the_round_trip_is_from_an_envelope_to_its_receipt_and_not_of_one_that_waited(
    relay: Puppet, ann: Home
) -> None:
    link = await ann.dial("ben")
    assert link.rtt_seconds is None
    ids = [number.to_bytes(16) for number in range(3)]
    link.submit(envelope(0, "ben"))
    await relay.say(Stored(ids[0]), Delivered((mark(ids[0]),), bytes(64)))
    link.check([ids[1]])
    await relay.say(Delivered((mark(ids[1]),), bytes(64)))
    await until(lambda: len(ann.seen.answers) == 3, ann.seen)
    assert link.rtt_seconds is None, "one was stored, and the other only asked about"
    link.submit(envelope(2, "ben"))
    receipt = Delivered((mark(ids[2]),), bytes(64))
    await relay.say(receipt)
    await until(lambda: receipt in ann.seen.answers, ann.seen)
    assert link.rtt_seconds is not None
    assert 0 <= link.rtt_seconds < 30


async def test_many_envelopes_are_asked_about_in_frames_that_a_relay_takes(relay: Puppet, ann: Home) -> None:
    link = await ann.dial("ben")
    ids = [number.to_bytes(16) for number in range(2 * MAX_POSTMARKS + 1)]
    link.check(ids)
    link.check([])
    await until(lambda: len(ann.seen.answers) == len(ids), ann.seen)
    checks = [frame for frame in map(decode_untrusted, relay.seen) if isinstance(frame, Check)]
    assert [len(check.envelopes) for check in checks] == [MAX_POSTMARKS, MAX_POSTMARKS, 1]
    assert [envelope_id for check in checks for envelope_id in check.envelopes] == ids


async def test_a_newer_key_that_comes_with_a_refusal_is_taken_and_nobody_elses(relay: Puppet, ann: Home) -> None:
    newer = KeyRing.load(identity("ben"), ring("ben").dump())
    newer.handle_timeout(NOW + 90_000, Dice(b"new"))
    link = await ann.dial("ben")
    for number, bundle in enumerate((ring("cat").current, newer.current, ring("ben").current)):
        link.submit(envelope(number, "ben"))
        await relay.say(Refused(number.to_bytes(16), "unknown_key", None, bundle))
    await until(lambda: len(ann.seen.answers) == 3, ann.seen)
    assert link.bundle == newer.current


async def test_links_are_opened_anew_now_and_then_because_keys_are_made_anew(
    relay: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.RENEW_SECONDS <= VALID_SECONDS / 2
    monkeypatch.setattr(session, "RENEW_SECONDS", 0.05)
    newer = KeyRing.load(identity("ben"), ring("ben").dump())
    newer.handle_timeout(NOW + 90_000, Dice(b"new"))
    async with at_home("ann", relay.url) as ann:
        link = await ann.dial("ben")
        relay.bundles[BEN] = newer.current
        await until(lambda: ann.seen.closed, ann.seen)
        assert ann.seen.closed == [(link, "it is opened anew, with the newest key", False)]
        assert (await ann.dial("ben")).bundle == newer.current


async def test_dials_at_the_same_time_get_the_same_link(relay: Puppet, ann: Home) -> None:
    links: list[Link] = []

    async def dial() -> None:
        links.append(await ann.dial("ben"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(dial)
    assert len(links) == 5
    assert set(links) == {ann.seen.opened[0]}
    assert len(ann.seen.opened) == 1


async def test_after_a_link_is_closed_another_is_made(relay: Puppet, ann: Home) -> None:
    link = await ann.dial("ben")
    link.submit(envelope(1, "ben"))
    link.close("no longer needed")
    again = await ann.dial("ben")
    assert again is not link
    await relay.say(Delivered((mark((1).to_bytes(16)),), bytes(64)))
    await until(lambda: ann.seen.answers, ann.seen)
    with pytest.raises(LinkError):
        link.check([bytes(16)])
    again.submit(envelope(2, "ben"))


async def test_nobody_in_particular_has_no_mailbox(relay: Puppet, ann: Home) -> None:
    with pytest.raises(LinkError, match="none was named"):
        await ann.transport.dial(None, RelayAddr(relay.url), "relay")


async def test_a_mailbox_under_another_key_is_not_linked_to(relay: Puppet, ann: Home) -> None:
    relay.replies = lambda number: [Found(number, ring("cat").current, online=True)]
    with pytest.raises(LinkError, match="does not fit"):
        await ann.dial("ben")
    assert ann.seen.opened == []


@pytest.mark.parametrize("before", range(4))  # the reader pauses at every fourth frame
async def test_a_link_is_not_made_on_a_session_that_ended_with_the_reply(relay: Puppet, ann: Home, before: int) -> None:
    last = Bye(ByeCode.CLOSED)
    relay.replies = lambda number: [
        *[Done(1000)] * before,
        Found(number, ring("ben").current, online=True),
        last,
    ]
    with suppress(LinkError):  # or it was there for a moment, and is closed again
        await ann.dial("ben")
    await until(lambda: ann.seen.lost, ann.seen)
    assert ann.seen.open_links == []


async def test_a_bug_of_ours_about_one_link_leaves_no_other_open(
    relay: Puppet, caplog: pytest.LogCaptureFixture
) -> None:
    class Clumsy(Listener):
        @override
        def link_closed(self, link: Link, reason: str, *, goodbye: bool) -> None:
            super().link_closed(link, reason, goodbye=goodbye)
            raise RuntimeError("a bug of ours")

    async with at_home("ann", relay.url, seen=Clumsy("ann")) as ann:
        await ann.dial("ben")
        await ann.dial("cat")
        await relay.callers[ANN][0].socket.close()
        await until(lambda: len(ann.seen.closed) == 2, ann.seen)
        assert "a bug of ours" in caplog.text


# --- mail for us ----------------------------------------------------------------------------------


async def test_mail_is_answered_on_the_session_it_came_on_and_without_one_not_at_all(
    relay: Puppet,
) -> None:
    answered: list[Answer] = []

    async def note(caller: Caller, answer: Answer) -> None:
        answered.append(answer)

    relay.answered = note  # type: ignore[method-assign]
    async with at_home("ann", relay.url, seen=Listener("ann", signs=False)) as ann:
        links: list[Link] = []
        received = ann.seen.envelope_received
        ann.seen.envelope_received = lambda link, sealed: (links.append(link), received(link, sealed))[1]  # type: ignore[method-assign]
        await ann.connected()
        await relay.callers[ANN][0].say(envelope(1, "ann"))
        await until(lambda: ann.seen.received, ann.seen)
        await relay.callers[ANN][0].socket.close()
        await until(lambda: ann.seen.story.count("relay opened") == 2, ann.seen)
        receipt = Delivered((mark((1).to_bytes(16)),), sign_receipt(identity("ann"), [mark((1).to_bytes(16))]))
        links[0].answer(receipt)  # that session is gone; the relay offers it again
        await relay.callers[ANN][0].say(envelope(1, "ann"))
        await until(lambda: len(ann.seen.received) == 2, ann.seen)
        links[1].answer(receipt)
        assert await find(ann) is not None
        assert answered == [receipt]


async def test_a_relay_that_brings_more_than_is_answered_is_read_no_further(relay: Puppet) -> None:
    async with at_home("ann", relay.url, seen=Listener("ann", signs=False)) as ann:
        await ann.connected()
        sent = [envelope(number, "ann") for number in range(MAX_UNANSWERED + 50)]
        for one in sent:
            await relay.callers[ANN][0].say(one)
        await until(lambda: len(ann.seen.received) > MAX_UNANSWERED, ann.seen)
        await anyio.wait_all_tasks_blocked()
        assert len(ann.seen.received) == MAX_UNANSWERED + 1


async def test_a_new_key_of_ours_is_brought_to_the_relay_by_the_next_session(relay: Puppet) -> None:
    rotating = KeyRing.load(identity("ann"), ring("ann").dump())
    transport, seen = RelayTransport(chance=lambda: 0.01), Listener("ann")
    transport.hear(seen)
    transport.keep(relay.url, list)
    async with transport.open(credentials("ann", lambda: rotating), seen):
        await until(lambda: "relay opened" in seen.story, seen)
        rotating.handle_timeout(NOW + 90_000, Dice(b"new"))
        transport.keep(relay.url, list)
        await until(lambda: seen.story.count("relay opened") == 2, seen)
        assert relay.bundles[ANN] == rotating.current

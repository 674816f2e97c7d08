"""Whatever recipients, carriers, routes and clocks do: what a delivery queue promises.

The recipients are honest, and alone can sign. Carriers lose, repeat, reorder, and say whatever they like. The node
restarts from its journal at any time. In the end there is an honest route to each destination, and then everything is
delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.events import (
    CheckWanted,
    DialWanted,
    Event,
    MergeWanted,
    MessageDelivered,
    MessageExpired,
    MessageRefused,
    MessageStored,
    RedateWanted,
)
from mcp_a2a.node.delivery.model import AWAITED, At, Fault, Hurry, Kind, Outgoing, Route, Send, StoredCopy, Way
from mcp_a2a.node.delivery.patience import Patience
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.pending import Pending, State
from mcp_a2a.node.delivery.queue import DeliveryQueue
from tests.node.delivery.scene import START, WEEK

BOB, CARA = "did:bob", "did:cara"
USUAL = Patience(clock=600.0, relayed_pieces=2, probe=20.0)
"""Shorter days, and less to do while nothing answers."""
SMALL = replace(USUAL, window=4, pieces=2)
WAYS = {0: Way.DIRECT, 1: Way.DIRECT, 2: Way.RELAY, 3: Way.RELAY}
ROUTES = {
    (to, number): Route(10 * at + number, f"wss://{number}" if way is Way.RELAY else f"ws://{to}{number}", way)
    for at, to in enumerate((BOB, CARA))
    for number, way in WAYS.items()
}
PEERS = st.sampled_from([BOB, BOB, CARA])
NUMBERS = st.sampled_from(sorted(WAYS))
FOR_NOW = ["busy", "unknown_task", "stale", "stale_ahead_90000", "rejected"]
GIVEN_UP = {"file_lost", "file_too_large_for_relay"}


@dataclass(frozen=True)
class Item:
    """A message on the wire, or in a mailbox."""

    id: str
    to: str
    token: bytes
    route: Route


class Delivery(RuleBasedStateMachine):
    """One node, two destinations."""

    patience = USUAL

    @initialize()
    def begin(self) -> None:
        self.at = START
        self.journal: dict[str, Outgoing] = {}
        self.copies: dict[str, StoredCopy] = {}
        self.numbers = self.tokens = 0
        self.wire: list[Item] = []
        self.mailboxes: list[Item] = []
        self.taken: list[Item] = []
        self.open: dict[tuple[str, int], Route] = {}
        self.signed: set[str] = set()
        self.refused: set[str] = set()
        self.under_way: dict[str, tuple[Route, float]] = {}
        self.merges = self.redates = True
        self.faults: list[Fault] = []
        self.start()

    def start(self) -> None:
        self.queue = DeliveryQueue(lambda _: self.patience, lambda: 0.5, self.numbers, START.sound)
        self.open.clear()
        self.wire.clear()
        self.under_way.clear()
        for some in self.journal.values():
            self.queue.enqueue(some, self.at, self.copies.get(some.id))

    # --- what the node does

    @rule(to=PEERS, task=st.sampled_from("tu"), kinds=st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=4))
    def enqueue(self, to: str, task: str, kinds: list[Kind]) -> None:
        for kind in kinds:
            self.numbers += 1
            own = "" if kind is Kind.NETWORK else f"{to}{task}"
            file, pieces = (f"f{self.numbers % 2}", 1 + self.numbers % 3) if kind is Kind.PIECE else ("", 0)
            some = Outgoing(
                f"{kind}{self.numbers}", self.numbers, to, own, kind, self.at.wall, self.at.wall + WEEK, self.at.sound,
                file, pieces,
            )  # fmt: skip
            self.journal[some.id] = some
            self.queue.enqueue(some, self.at)
        self.queue.enqueue(some, self.at)
        self.pump()

    @precondition(lambda self: self.journal)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        some = data.draw(st.sampled_from(sorted(self.journal)))
        self.gone(some)
        self.queue.withdraw([some], self.at)
        self.pump()

    @rule(to=PEERS)
    def abandon(self, to: str) -> None:
        for some in [one for one in self.journal.values() if one.destination == to]:
            self.gone(some.id)
        self.queue.abandon(to, self.at)
        self.pump()

    @rule(to=PEERS, why=st.sampled_from(list(Hurry)), wanted=st.booleans())
    def hurry(self, to: str, why: Hurry, wanted: bool) -> None:  # noqa: FBT001
        self.queue.attend(to, self.at, wanted=wanted)
        self.queue.hurry(to, why, self.at)
        self.pump()

    @rule()
    def restart(self) -> None:
        self.start()
        self.pump()

    @rule(merges=st.booleans(), redates=st.booleans(), faults=st.lists(st.sampled_from(list(Fault)[:4]), max_size=3))
    def have_a_mood(self, merges: bool, redates: bool, faults: list[Fault]) -> None:  # noqa: FBT001
        self.merges, self.redates, self.faults = merges, redates, faults

    # --- routes and clocks

    @rule(to=PEERS, number=NUMBERS, present=st.booleans())
    def route_opens(self, to: str, number: int, present: bool) -> None:  # noqa: FBT001
        route = replace(ROUTES[to, number], present=present)
        is_new, self.open[to, number] = (to, number) not in self.open, route
        own = [one for one in self.journal.values() if one.destination == to and one.id in self.copies]
        copies = {self.copies[one.id].token for one in own if self.copies[one.id].address == route.address}
        known = {token for token in copies if self.queue.carried(token) is not None}
        if not route.is_relayed:
            for some in own:
                self.under_way.pop(some.id, None)
        self.queue.route_opened(to, route, self.at)
        asked = [event for event in self.pump() if isinstance(event, CheckWanted)]
        if is_new and route.is_relayed and known:
            assert {token for event in asked for token in event.tokens} >= known

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def route_closes(self, data: st.DataObject) -> None:
        to, number = data.draw(st.sampled_from(sorted(self.open)))
        route = self.open.pop((to, number))
        self.wire = [item for item in self.wire if item.route.id != route.id]
        for some, (by, _) in list(self.under_way.items()):
            if by.id == route.id:
                del self.under_way[some]
        self.queue.route_closed(to, route.id, self.at)
        self.pump()

    @rule(to=PEERS)
    def dialling_fails(self, to: str) -> None:
        self.queue.unreachable(to, ("no answer",), self.at)
        self.pump()

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 61.0, 601.0]))
    def pass_time(self, seconds: float) -> None:
        end = self.at.ticks + seconds
        while (due := self.queue.next_timeout()) <= end:
            self.move(max(0.0, due - self.at.ticks))
            self.queue.handle_timeout(self.at)
            assert self.queue.next_timeout() > self.at.ticks, "it would spin"
            self.pump()
        self.move(end - self.at.ticks)

    @rule(seconds=st.sampled_from([-1e6, -7200.0, 7200.0, 1e6]), told=st.booleans())
    def clock_jumps(self, seconds: float, told: bool) -> None:  # noqa: FBT001
        self.at = replace(self.at, wall=self.at.wall + seconds)
        if told:
            self.queue.hurry(None, Hurry.CLOCK, self.at)
            self.pump()

    def move(self, seconds: float) -> None:
        at = self.at
        self.at = At(at.ticks + seconds, at.wall + seconds, at.sound + seconds, at.uptime + seconds)

    # --- what comes back

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), again=st.booleans())
    def arrives(self, data: st.DataObject, again: bool) -> None:  # noqa: FBT001
        item = data.draw(st.sampled_from(self.wire))
        if not again:
            self.wire.remove(item)
        self.take(item)

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), stored=st.booleans())
    def a_relay_has_it(self, data: st.DataObject, stored: bool) -> None:  # noqa: FBT001
        item = data.draw(st.sampled_from(self.wire))
        if item.route.is_relayed:
            self.wire.remove(item)
            self.mailboxes.append(item)
            if stored:
                self.answer(item, Answered(Word.STORED))

    @precondition(lambda self: self.mailboxes)
    @rule(data=st.data())
    def a_relay_brings_it(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.mailboxes))
        self.mailboxes.remove(item)
        self.take(item)

    def take(self, item: Item) -> None:
        """The recipient has it, and signs for it."""
        if self.queue.carried(item.token) is not None:
            self.signed.add(item.id)
        self.taken.append(item)
        self.answer(item, Answered(Word.DELIVERED, signed=True))

    @precondition(lambda self: self.wire or self.mailboxes)
    @rule(data=st.data(), code=st.sampled_from(["blocked", "held", *FOR_NOW, *FOR_NOW]), later=st.floats(0, 1e4))
    def the_recipient_declines(self, data: st.DataObject, code: str, later: float) -> None:
        item = data.draw(st.sampled_from(self.wire + self.mailboxes))
        if code == "held":
            self.answer(item, Answered(Word.HELD, signed=True))
            return
        if code not in ("busy", "unknown_task"):
            self.refused.add(item.id)  # at once, after some times, or after some time
        self.answer(item, Answered.refused(code, signed=True, retry_after=later))

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def an_old_answer_comes_again(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.taken))
        if self.queue.carried(item.token) is None:
            self.answer(item, Answered(Word.DELIVERED, signed=True))

    @precondition(lambda self: self.wire or self.mailboxes)
    @rule(data=st.data(), word=st.sampled_from(list(Word)), later=st.none() | st.floats(), slow=st.booleans())
    def a_carrier_lies(self, data: st.DataObject, word: Word, later: float | None, slow: bool) -> None:  # noqa: FBT001
        item = data.draw(st.sampled_from(self.wire + self.mailboxes))
        route = data.draw(st.sampled_from(sorted(self.open.values(), key=lambda one: one.id) or [item.route]))
        self.answer(item, Answered(word, code="rate_limited" if slow else "", retry_after=later), route)

    def answer(self, item: Item, answer: Answered, route: Route | None = None) -> None:
        is_here = any(peer == item.to and not one.is_relayed for (peer, _), one in self.open.items())
        if answer.word is not Word.STORED or is_here:  # a copy is not waited for while its recipient is here itself
            self.under_way.pop(item.id, None)
        before = self.queue.holds(item.id)
        self.queue.answered(item.token, answer, route or item.route, self.at)
        if not answer.signed:
            assert self.queue.holds(item.id) == before, "what is not signed ends nothing"
        self.pump()

    # --- the shell

    def pump(self) -> list[Event]:
        seen: list[Event] = []
        events = self.queue.events()
        while True:
            for event in events:
                self.handle(event)
            seen += events
            sends = self.queue.messages_to_send(self.at)
            for send in sends:
                self.carry(send)
            events = self.queue.events()
            if not events and not sends:
                return seen

    def handle(self, event: Event) -> None:
        match event:
            case MessageDelivered() | MessageRefused() | MessageExpired():
                self.handle_end(event)
            case MessageStored(message, address, token):
                self.copies[message] = StoredCopy(address, token)
            case RedateWanted(message):
                dates = (self.at.wall, self.at.wall + WEEK) if self.redates else None
                if dates is not None:
                    self.journal[message] = replace(self.journal[message], created=dates[0], expires=dates[1])
                self.queue.redated(message, dates, self.at)
            case MergeWanted():
                self.merge(event)
            case DialWanted(to):
                assert not any(peer == to for peer, _ in self.open)
            case _:
                pass

    def handle_end(self, event: MessageDelivered | MessageRefused | MessageExpired) -> None:
        match event:
            case MessageDelivered(message):
                assert message in self.signed, "the recipient has not signed for it"
                self.gone(message)
            case MessageRefused(message, code, ids):
                assert message in self.refused or code in GIVEN_UP
                for one in ids:
                    self.gone(one)
            case MessageExpired(message):
                some = self.journal[message]
                assert self.at.wall >= some.expires
                assert self.at.sound >= some.kept + WEEK
                self.gone(message)

    def merge(self, event: MergeWanted) -> None:
        ids = event.ids
        numbers = [self.journal[one].n for one in ids]
        assert numbers == sorted(numbers)
        assert {self.journal[one].kind for one in ids} == {Kind.UPDATE}
        merged = {ids[-1]: ids[:-1]} if self.merges else {}
        for absorbed in merged.values():
            for one in absorbed:
                self.gone(one)
        self.queue.merged(event, merged, self.at)

    def gone(self, message: str) -> None:
        del self.journal[message]
        self.copies.pop(message, None)
        self.under_way.pop(message, None)

    def carry(self, send: Send) -> None:
        self.check_order(send)
        fault = self.faults.pop() if self.faults else None
        if fault is not None and (fault is not Fault.FILE_LOST or self.journal[send.id].kind is Kind.PIECE):
            self.queue.not_sent(send.id, fault, self.at)
            return
        route, since = self.under_way.get(send.id, (None, 0.0))
        assert route is None or self.at.ticks - since > 29.9, "it is on its way already"
        self.tokens += 1
        item = Item(send.id, send.destination, b"%d" % self.tokens, send.route)
        self.wire.append(item)
        self.under_way[send.id] = (send.route, self.at.ticks)
        self.queue.sent(send.id, item.token, self.at)

    def check_order(self, send: Send) -> None:
        """What goes ahead of a message in its task has been answered, or is in the mailbox that it goes to."""
        some = self.journal[send.id]
        if not some.task or some.kind is Kind.PIECE:
            return
        entries = self.queue._waiting.entries
        for other in self.journal.values():
            if other.task != some.task or other.n >= some.n:
                continue
            ahead = entries[other.id]
            if other.kind in AWAITED:
                assert some.kind is Kind.CANCEL
                assert (ahead.state, ahead.address) == (State.STORED, send.route.address)
            elif other.kind is not Kind.PIECE:
                assert ahead.state is not State.WAITING, "it overtakes one that waits"

    # --- what must hold

    @invariant()
    def the_queue_holds_what_the_journal_holds(self) -> None:
        if hasattr(self, "queue"):
            assert set(self.queue._waiting.entries) == set(self.journal)
            assert len(self.queue) == sum(one.kind is not Kind.PIECE for one in self.journal.values())
            for to in (BOB, CARA):
                own = [one for one in self.journal.values() if one.destination == to]
                assert self.queue.waiting(to) == sum(one.kind is not Kind.PIECE for one in own)
                for kind in Kind:
                    assert set(self.queue.tasks_with(to, kind)) == {one.task for one in own if one.kind is kind}

    @invariant()
    def every_index_is_right_and_nothing_is_forgotten(self) -> None:
        if hasattr(self, "queue"):
            waiting = self.queue._waiting
            tokens = {one.token for one in waiting.entries.values() if one.token is not None}
            assert set(waiting.tokens) == tokens
            assert not waiting.active, "there is more to send"
            for owner in waiting.timers._due:
                if isinstance(owner, Pending):
                    assert owner.some.id in waiting.entries
                elif owner is not None:
                    assert owner[0].key in waiting.peers
            for peer in waiting.peers.values():
                self.check_states(peer)
                self.check_candidates(peer)

    def check_states(self, peer: PeerQueue) -> None:
        own = peer.entries
        assert own or peer.routes or peer.attended or peer.dialing, "a destination without a purpose is forgotten"
        assert set(peer.flying) == {name for name, one in own.items() if one.is_flying}
        assert set(peer.pieces) == {name for name, one in own.items() if one.is_flying and one.is_piece}
        stored = {name for name, one in own.items() if one.state is State.STORED}
        assert {name for copies in peer.stored.values() for name in copies} == stored
        assert len(peer.flying) <= self.patience.window
        assert len(peer.pieces) <= self.patience.pieces
        assert {name for line in peer.lines.values() for name in line.entries} == set(own)
        assert {one.route.id for one in peer.flying.values() if one.route} <= set(peer.routes)
        for entry in own.values():
            due = self.queue._waiting.timers.due(entry)
            if entry.state is State.WAITING and entry.paused:
                assert due <= self.at.ticks + 600, "a pause has an end"
            assert (entry.token is not None) == (entry.state in (State.UNDER_WAY, State.STORED))
        if own and not peer.routes:
            assert peer.dialing or self.queue._waiting.timers.next() < float("inf")

    def check_candidates(self, peer: PeerQueue) -> None:
        """After everything was sent that may go, a search through everything finds nothing more."""
        if peer.best is None or peer.paused_until > self.at.ticks or len(peer.flying) >= self.patience.window:
            return
        for entry in peer.entries.values():
            if entry.is_piece:
                is_barred = peer.best.is_relayed and peer.is_large(entry)
                may_go = len(peer.pieces) < self.patience.pieces and not is_barred
            else:
                may_go = True
            assert not (may_go and peer.line_of(entry).is_sendable(entry, peer.relay)), "it may go, and is not sent"

    def teardown(self) -> None:
        """In the end carriers are honest and recipients take everything: then nothing is left."""
        if not hasattr(self, "queue") or any(
            one.state is State.OFFERED for one in self.queue._waiting.entries.values()
        ):
            return  # the latter: it broke while it was carrying
        self.merges = self.redates = True
        self.faults = []
        self.mailboxes.clear()
        self.clock_jumps(START.wall + self.at.ticks - START.ticks - self.at.wall, told=True)
        for to in (BOB, CARA):
            self.route_opens(to, 0, present=True)
        for _ in range(100):
            while self.wire:
                self.take(self.wire.pop(0))
            if not self.journal:
                break
            self.pass_time(601.0)
        assert not self.journal, [(one.state, one.some) for one in self.queue._waiting.entries.values()]
        assert len(self.queue) == 0
        assert not self.queue._waiting.tokens
        assert not self.queue._waiting.obstacles


class SmallWindows(Delivery):
    """The same, with windows so small that a short run fills them."""

    patience = SMALL


_effort = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWhateverHappens = Delivery.TestCase
TestWhateverHappens.settings = _effort
TestWhateverHappensInSmallWindows = SmallWindows.TestCase
TestWhateverHappensInSmallWindows.settings = _effort

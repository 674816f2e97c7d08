"""A relay's law of mail, against a disk and connections that do whatever disks and connections do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mcp_a2a.protocol import mail_fetching, mailbox
from mcp_a2a.protocol.connections import Connections
from mcp_a2a.protocol.control import Delivered, Frame, Refused, Stored
from mcp_a2a.protocol.envelope import HEADER_SIZE, HOUR, WIRE_SIZES, Header
from mcp_a2a.protocol.frames import decode_untrusted, encode
from mcp_a2a.protocol.mail_deposits import DUPLICATE
from mcp_a2a.protocol.mail_message import Message, Place
from mcp_a2a.protocol.mail_orders import Backlog, Drop, Keep, Load, Put
from mcp_a2a.protocol.relay_limits import ELISION_SECONDS, RelayLimits
from mcp_a2a.protocol.relay_mail import RelayMail
from mcp_a2a.protocol.replay import stale_code
from tests.protocol.people import ALICE, BOB, CAROL, mark

WALL = 1_790_000_000.0
BODY = b"x" * (1712 - 64)
A, B, C = (identity.peer_id.key for identity in (ALICE, BOB, CAROL))
D = b"d" * 32
MIB = 1024 * 1024
PEERS = {identity.peer_id.key: identity.peer_id for identity in (ALICE, BOB, CAROL)}


class Line:
    """A connection that writes down what is said on it."""

    def __init__(self, key: bytes, account: bytes = b"") -> None:
        self.key = key
        self.account = account
        self.frames: list[str | bytes] = []

    def send(self, frame: str | bytes) -> None:
        self.frames.append(frame)

    def heard(self) -> list[Frame]:
        """What was said since the last time, but envelopes."""
        said = [decode_untrusted(frame) for frame in self.frames if isinstance(frame, str)]
        self.frames = [frame for frame in self.frames if isinstance(frame, bytes)]
        return said

    def mail(self) -> list[bytes]:
        """Ids of envelopes that came since the last time."""
        ids = [Header.parse_untrusted(frame).envelope_id for frame in self.frames if isinstance(frame, bytes)]
        self.frames = [frame for frame in self.frames if isinstance(frame, str)]
        return ids


def _row(message: Message) -> Message:
    return Message(
        message.number, message.recipient, message.envelope_id, message.depositor, envelope=message.envelope,
        expires=message.expires, place=Place.DISK,
    )  # fmt: skip


class Disk:
    """What a relay's store does, in a dict: orders are queued, committed as a whole, or fail as a whole."""

    def __init__(self) -> None:
        self.rows: dict[int, Message] = {}
        self.kept: list[Keep] = []
        self.queue: list[list[Put | Drop | Keep]] = []
        self.accounts: dict[bytes, bytes] = {}

    def row(self, recipient: bytes, envelope_id: bytes) -> Message | None:
        wanted = (recipient, envelope_id)
        return next((row for row in self.rows.values() if (row.recipient, row.envelope_id) == wanted), None)

    def backlog(self) -> list[Backlog]:
        return [
            Backlog(row.recipient, row.depositor, 1, row.size, self.accounts.get(row.depositor, b""))
            for row in self.rows.values()
        ]

    def take(self, mail: RelayMail) -> None:
        """Take the orders of a round: reads are answered at once."""
        changes: list[Put | Drop | Keep] = []
        while orders := mail.orders():
            for order in orders:
                if isinstance(order, Load):
                    self._load(mail, order)
                else:
                    changes.append(order)
        if changes:
            self.queue.append(changes)

    def _load(self, mail: RelayMail, order: Load) -> None:
        found = sorted(
            (row for row in self.rows.values() if row.recipient == order.recipient and row.number > order.after),
            key=lambda row: row.number,
        )
        some = [_row(row) for row in found[: order.frames]]
        mail.loaded(order, some, is_all=len(found) < order.frames)

    def commit(self, mail: RelayMail) -> None:
        changes = self.queue.pop(0)
        existed: dict[int, bool] = {}
        for change in changes:
            match change:
                case Put(message) if there := self.row(message.recipient, message.envelope_id):
                    existed[message.number] = message.is_the_same(there.depositor, there.envelope)
                case Put(message):
                    self.rows[message.number] = _row(message)
                case Drop(number):
                    self.rows.pop(number, None)
                case Keep():
                    self.kept.append(change)
        for change in changes:
            match change:
                case Put(message) if existed.get(message.number) is False:
                    mail.put_failed(message, DUPLICATE)
                case Put(message):
                    mail.put_done(message, existed=message.number in existed)
        mail.dropped([change.number for change in changes if isinstance(change, Drop)])

    def fail(self, mail: RelayMail) -> None:
        changes = self.queue.pop(0)
        for change in changes:
            if isinstance(change, Put):
                mail.put_failed(change.message, "storage_full")
        again = [change for change in changes if isinstance(change, Drop)]
        if again:
            self.queue.append(again)


@dataclass
class World:
    """An mail, its disk and its clock."""

    limits: RelayLimits = field(default_factory=RelayLimits)
    disk: Disk = field(default_factory=Disk)
    now: float = 0.0
    strangers: set[tuple[bytes, bytes]] = field(default_factory=set)
    """Pairs of a depositor and a recipient that do not know each other."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        last = max(self.disk.rows, default=0)
        self.connections = Connections([A, B, C], self.limits.max_keys)
        self.mail = RelayMail(self.limits, self.connections, self.disk.backlog(), last + 1, self.knows)

    def knows(self, line: Line, recipient: bytes) -> bool:
        return (line.key, recipient) not in self.strangers

    def enter(self, key: bytes, account: bytes = b"") -> Line:
        line = Line(key, account)
        self.disk.accounts[key] = account
        self.mail.opened(line)
        self.disk.take(self.mail)
        return line

    def leave(self, line: Line) -> None:
        self.mail.closed(line)
        self.disk.take(self.mail)

    def deposit(self, line: Line, to: bytes, number: int, body: bytes = BODY, expires: int | None = None) -> bytes:
        wanted = int(WALL // HOUR) * HOUR + 3 * HOUR if expires is None else expires
        header = Header(PEERS.get(to, BOB.peer_id), b"12345678", number.to_bytes(16), wanted)
        self.mail.deposits.take(line, header, header.to_bytes() + body, self.now, WALL, WALL)
        self.disk.take(self.mail)
        return header.envelope_id

    def answer(self, line: Line, *ids: bytes) -> bool:
        known = self.mail.answered(line, ids, encode(Delivered(tuple(map(mark, ids)), bytes(64))))
        self.disk.take(self.mail)
        return known

    def put_off(self, line: Line, envelope_id: bytes, seconds: float) -> None:
        self.mail.put_off(line, envelope_id, seconds, self.now)
        self.disk.take(self.mail)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.mail.handle_timeout(self.now)
        self.disk.take(self.mail)

    def commit(self) -> None:
        while self.disk.queue:
            self.disk.commit(self.mail)
            self.disk.take(self.mail)


def ids_of(frames: list[Frame], kind: type) -> list[bytes]:
    return [
        envelope
        for frame in frames
        if isinstance(frame, kind)
        for envelope in (frame.envelopes if isinstance(frame, Delivered) else (frame.envelope,))
    ]


# --- sentences ------------------------------------------------------------------------------------


def test_a_message_that_is_answered_in_time_never_touches_the_disk() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    assert bob.mail() == [first]
    assert world.answer(bob, first)
    assert ids_of(alice.heard(), Delivered) == [first]
    world.pass_time(1.0)
    assert not world.disk.queue


def test_an_unanswered_message_is_written_after_a_moment_and_stored_is_said_after_the_commit() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.pass_time(ELISION_SECONDS - 0.001)
    assert not world.disk.queue
    world.pass_time(0.002)
    assert world.disk.queue
    assert not alice.heard()
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]
    world.answer(bob, first)
    assert ids_of(alice.heard(), Delivered) == [first]
    world.commit()
    assert not world.disk.rows


def test_a_message_that_is_answered_while_it_is_written_is_not_called_stored_afterwards() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.pass_time(ELISION_SECONDS)
    world.answer(bob, first)
    world.commit()
    heard = alice.heard()
    assert ids_of(heard, Delivered) == [first]
    assert ids_of(heard, Stored) == []
    assert not world.disk.rows


def test_mail_for_somebody_who_is_away_is_written_at_once() -> None:
    world = World()
    alice = world.enter(A)
    first = world.deposit(alice, B, 1)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]
    bob = world.enter(B)
    assert bob.mail() == [first]


def test_what_the_last_connection_has_not_answered_is_written_when_it_ends() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.leave(bob)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]


def test_a_newer_connection_gets_what_the_older_has_not_answered_and_the_older_takes_nothing_along() -> None:
    world = World()
    alice, old = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    new = world.enter(B)
    assert new.mail() == [first]
    world.leave(old)
    second = world.deposit(alice, B, 2)
    assert new.mail() == [second]
    assert old.mail() == [first]


def test_when_the_newest_connection_ends_the_next_newest_gets_its_mail() -> None:
    world = World()
    alice, old, new = world.enter(A), world.enter(B), world.enter(B)
    first = world.deposit(alice, B, 1)
    assert old.mail() == []
    world.leave(new)
    assert old.mail() == [first]


def test_an_answer_over_an_older_connection_counts() -> None:
    world = World()
    alice, old = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.enter(B)
    assert world.answer(old, first)
    assert ids_of(alice.heard(), Delivered) == [first]


def test_an_answer_for_somebody_who_left_is_kept() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.leave(alice)
    world.answer(bob, first)
    world.commit()
    assert [(keep.depositor, keep.envelopes) for keep in world.disk.kept] == [(A, (first,))]


def test_one_receipt_for_many_depositors_reaches_each_whole_and_once() -> None:
    world = World()
    alice, carol, bob = world.enter(A), world.enter(C), world.enter(B)
    ids = [world.deposit(alice, B, 1), world.deposit(alice, B, 2), world.deposit(carol, B, 3)]
    world.answer(bob, *ids)
    for depositor in (alice, carol):
        heard = depositor.heard()
        assert len(heard) == 1
        assert ids_of(heard, Delivered) == ids


def test_nobody_can_answer_for_another_mailbox() -> None:
    world = World()
    alice, bob, carol = world.enter(A), world.enter(B), world.enter(C)
    first = world.deposit(alice, B, 1)
    assert not world.answer(carol, first)
    assert not alice.heard()
    assert world.answer(bob, first)


def test_a_recipient_that_is_busy_gets_the_message_again_and_its_depositor_hears_nothing_of_it() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    second = world.deposit(alice, B, 2)
    assert bob.mail() == [first, second]
    world.put_off(bob, first, 10)
    world.answer(bob, second)
    assert ids_of(alice.heard(), Delivered) == [second]
    world.pass_time(9)
    world.commit()
    assert ids_of(alice.heard(), Refused) == []
    assert bob.mail() == []
    assert world.mail.next_timeout() == pytest.approx(10)
    world.pass_time(1)
    assert bob.mail() == [first]


def test_a_recipient_that_says_again_and_again_that_it_is_busy_is_heard_once() -> None:
    """Each time would be one more thing to remember, for an hour, and the session would not count it as useless."""
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    assert bob.mail() == [first]
    assert world.mail.put_off(bob, first, 3600, world.now)
    assert not any(world.mail.put_off(bob, first, 3600, world.now) for _ in range(100))
    world.pass_time(3599)
    world.commit()
    assert bob.mail() == []
    world.pass_time(1)
    assert bob.mail() == [first]
    assert world.mail.next_timeout() == math.inf
    assert world.mail.put_off(bob, first, 10, world.now), "it was offered again"


def test_what_a_recipient_puts_off_again_and_again_leaves_its_window_to_others() -> None:
    world = World()
    carol, alice, bob = world.enter(C), world.enter(A), world.enter(B)
    unwanted = [world.deposit(carol, B, number) for number in range(1, 101)]
    seen: set[bytes] = set()
    for _ in range(100):
        for envelope in bob.mail():
            seen.add(envelope)
            world.put_off(bob, envelope, 60)
        world.pass_time(0.02)
        world.commit()
    assert seen == set(unwanted)
    assert world.mail.accounting.memory_bytes <= mailbox.MAX_PAUSED * len(BODY + bytes(HEADER_SIZE))

    wanted = world.deposit(alice, B, 1000)
    assert bob.mail() == [wanted]
    assert world.answer(bob, wanted)

    world.deposit(carol, B, 100)  # the same again, and the disk alone has it
    assert ids_of(carol.heard(), Stored).count(unwanted[99]) == 2
    again: list[bytes] = []
    for _ in range(10):
        world.pass_time(60)
        again += (mail := bob.mail())
        for envelope in mail:
            world.answer(bob, envelope)
        world.commit()
    assert sorted(again) == sorted(unwanted)
    assert world.mail.messages == (0, 0)
    assert world.mail.accounting.memory_bytes == 0
    assert not world.disk.rows


def test_what_cannot_be_read_again_after_its_pause_is_kept() -> None:
    world = World()
    carol, bob = world.enter(C), world.enter(B)
    for number in range(1, 2 * mailbox.MAX_PAUSED + 1):
        world.deposit(carol, B, number)
    world.pass_time(0.02)
    world.commit()
    for envelope in bob.mail():
        world.put_off(bob, envelope, 10)
    rows, world.disk.rows = world.disk.rows, {}
    world.pass_time(10)
    world.disk.rows = rows
    for _ in range(4):
        for envelope in bob.mail():
            world.answer(bob, envelope)
        world.commit()
        world.pass_time(60)
    assert not rows


def test_what_a_recipient_cannot_take_yet_waits_for_it_where_its_depositor_has_gone() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    here = world.deposit(alice, B, 1)
    refusal = Refused(here, "stale_ahead_90000", None, None, bytes(64))
    bob.mail()
    assert world.mail.postponed(bob, refusal, world.now)
    assert ids_of(alice.heard(), Refused) == [here], "a depositor that is here knows why, and has the message"
    world.pass_time(120)
    assert bob.mail() == []

    away = world.deposit(alice, B, 2)
    world.pass_time(0.02)
    world.commit()
    world.leave(alice)
    assert bob.mail() == [away]
    assert world.mail.postponed(bob, Refused(away, "stale_ahead_90000", None, None, bytes(64)), world.now)
    world.leave(bob)
    world.commit()
    bob = world.enter(B)
    assert bob.mail() == [away]


@pytest.mark.parametrize("code", ["unknown_task", "unknown_key"])
def test_two_machines_with_one_key_get_each_what_is_theirs(code: str) -> None:
    world = World()
    alice, older, newer = world.enter(A), world.enter(B), world.enter(B)
    first = world.deposit(alice, B, 1)
    assert (older.mail(), newer.mail()) == ([], [first])
    unknown = Refused(first, code)
    assert world.mail.postponed(newer, unknown, world.now)
    assert older.mail() == [first]
    assert ids_of(alice.heard(), Refused) == []
    assert world.answer(older, first)
    assert ids_of(alice.heard(), Delivered) == [first]

    second = world.deposit(alice, B, 2)
    unknown = Refused(second, code)
    assert world.mail.postponed(newer, unknown, world.now)
    assert world.mail.postponed(older, unknown, world.now)
    assert ids_of(alice.heard(), Refused) == [second], "neither knows it"

    back = world.deposit(older, A, 3)
    world.answer(alice, back)
    assert ids_of(older.heard(), Delivered) == [back]


def test_a_connection_that_repeats_that_a_task_is_unknown_has_it_shown_to_another_once() -> None:
    """Two short frames would otherwise bring a whole envelope, beyond all limits of what a key may send."""
    world = World()
    alice, older, newer = world.enter(A), world.enter(B), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.pass_time(0.02)
    world.commit()
    world.leave(alice)
    assert newer.mail() == [first]
    unknown = Refused(first, "unknown_task")
    assert world.mail.postponed(newer, unknown, world.now)
    assert older.mail() == [first]
    assert not any(world.mail.postponed(newer, unknown, world.now) for _ in range(10))
    assert older.mail() == []
    assert world.mail.postponed(older, unknown, world.now), "its own answer is awaited"


@pytest.mark.parametrize("code", ["unknown_task", "unknown_key"])
def test_a_connection_that_is_dead_holds_up_the_refusal_of_the_living_one_once(code: str) -> None:
    world = World()
    alice, dead, alive = world.enter(A), world.enter(B), world.enter(B)
    first = world.deposit(alice, B, 1)
    assert world.mail.postponed(alive, Refused(first, code), world.now)
    assert (alive.mail(), dead.mail()) == ([first], [first])
    world.pass_time(10)
    assert alive.mail() == [first]
    assert world.mail.postponed(alive, Refused(first, code), world.now)
    assert dead.mail() == []
    assert ids_of(alice.heard(), Refused) == [first]


def test_the_news_of_another_key_waits_for_who_has_sent_to_the_old_one() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    first = world.deposit(alice, B, 1)
    world.pass_time(0.02)
    world.commit()
    world.leave(alice)
    assert world.mail.postponed(bob, Refused(first, "unknown_key"), world.now)
    assert [order for order in world.mail.orders() if isinstance(order, Keep)]
    assert not world.mail.holds_mail(B)


def test_what_the_disk_has_no_room_for_goes_only_to_who_is_there() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    world.mail.accounting.room_until = world.mail.accounting.disk_bytes
    away = world.deposit(alice, C, 1)
    assert ids_of(alice.heard(), Refused) == [away]
    here = world.deposit(alice, B, 2)
    assert bob.mail() == [here]
    assert world.answer(bob, here)


def test_the_same_deposit_again_makes_nothing_new() -> None:
    world = World()
    alice = world.enter(A)
    first = world.deposit(alice, B, 1)
    world.deposit(alice, B, 1)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first], "the second was answered by the first one's answer"
    world.deposit(alice, B, 1)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]
    assert len(world.disk.rows) == 1
    assert world.mail.messages[0] == 1
    bob = world.enter(B)
    world.deposit(alice, B, 1)
    assert bob.mail() == [first]
    assert ids_of(alice.heard(), Stored) == [first]


def test_what_is_brought_again_while_it_waits_on_the_disk_comes_once() -> None:
    world = World()
    alice = world.enter(A)
    first = world.deposit(alice, B, 1)
    world.commit()
    world.deposit(alice, B, 1)
    bob = world.enter(B)
    assert bob.mail() == [first]
    assert ids_of(alice.heard(), Stored) == [first, first]
    world.answer(bob, first)
    world.commit()
    assert ids_of(alice.heard(), Delivered) == [first]
    assert (bob.mail(), world.disk.rows, world.mail.messages) == ([], {}, (0, 0))


def test_another_key_cannot_take_the_place_of_a_message_by_its_id() -> None:
    world = World()
    alice, carol = world.enter(A), world.enter(C)
    bob = world.enter(B)
    first = world.deposit(alice, B, 1)
    world.deposit(carol, B, 1)
    assert ids_of(carol.heard(), Refused) == [first]
    world.answer(bob, first)
    assert ids_of(alice.heard(), Delivered) == [first]
    assert not carol.heard()


def codes_of(line: Line) -> list[str]:
    return [frame.code for frame in line.heard() if isinstance(frame, Refused)]


@pytest.mark.parametrize("who", [A, C], ids=["itself", "another key"])
def test_another_message_under_the_id_of_one_on_the_disk_is_refused_and_never_called_stored(who: bytes) -> None:
    world = World()
    alice = world.enter(A)
    first = world.deposit(alice, B, 1, BODY)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]
    intruder = alice if who == A else world.enter(who)
    world.deposit(intruder, B, 1, b"y" * len(BODY))
    world.commit()
    assert codes_of(intruder) == [DUPLICATE]
    bob = world.enter(B)
    assert [frame[-1:] for frame in bob.frames if isinstance(frame, bytes)] == [b"x"]
    world.answer(bob, first)
    world.commit()
    assert ids_of(alice.heard(), Delivered) == [first]
    assert (world.disk.rows, world.mail.messages) == ({}, (0, 0))


def test_another_message_under_the_id_of_one_that_is_being_loaded_is_refused_too() -> None:
    world = World()
    alice, carol = world.enter(A), world.enter(C)
    first = world.deposit(alice, B, 1)
    world.commit()
    world.deposit(carol, B, 1, b"y" * len(BODY))  # its order to write is under way
    bob = world.enter(B)
    world.commit()
    assert codes_of(carol) == [DUPLICATE]
    assert [frame[-1:] for frame in bob.frames if isinstance(frame, bytes)] == [b"x"]
    world.answer(bob, first)
    world.commit()
    assert ids_of(alice.heard(), Delivered) == [first]
    assert not carol.heard()
    assert (world.disk.rows, world.mail.messages) == ({}, (0, 0))


def test_a_message_that_expires_does_not_take_along_another_one_with_its_id() -> None:
    world = World()
    alice, carol = world.enter(A), world.enter(C)
    first = world.deposit(alice, B, 1)
    world.commit()
    world.deposit(carol, B, 1, b"y" * len(BODY))
    row = next(iter(world.disk.rows.values()))
    world.mail.expired(row.number, row.recipient, row.envelope_id, row.depositor, row.size)
    world.disk.take(world.mail)
    world.commit()
    assert codes_of(carol) == [DUPLICATE]
    assert not ids_of(alice.heard(), Delivered)
    assert (world.disk.rows, world.mail.messages) == ({}, (0, 0))
    world.deposit(carol, B, 1, b"y" * len(BODY))
    world.commit()
    assert ids_of(carol.heard(), Stored) == [first]


def test_a_deposit_under_the_id_of_anothers_does_not_hide_that_its_answer_is_still_to_come() -> None:
    world = World()
    alice, carol = world.enter(A), world.enter(C)
    world.enter(B)
    pending = world.deposit(alice, B, 1)
    world.deposit(carol, C, 1)
    assert world.mail.deposits.is_pending(A, pending)
    assert world.mail.unwritten == 2


@pytest.mark.parametrize(
    ("limits", "fits", "code"),
    [
        (RelayLimits(max_queue=3), 3, "mailbox_full"),
        (RelayLimits(max_per_sender=2), 2, "quota"),
        (RelayLimits(max_mailbox_bytes=2 * 1712), 2, "mailbox_full"),
        (RelayLimits(max_disk_bytes=2 * (1712 + 512)), 2, "storage_full"),
        (RelayLimits(max_memory_bytes=3 * 1712), 3, "rate_limited"),
    ],
)
def test_each_limit_takes_n_and_refuses_the_next_with_its_code_and_a_time(
    limits: RelayLimits, fits: int, code: str
) -> None:
    world = World(limits)
    alice = world.enter(A)
    ids = [world.deposit(alice, B, number) for number in range(fits + 1)]
    refused = alice.heard()
    assert [(frame.envelope, frame.code) for frame in refused if isinstance(frame, Refused)] == [(ids[-1], code)]
    assert refused[0].retry_after  # type: ignore[union-attr]
    world.commit()
    assert ids_of(alice.heard(), Stored) == ids[:-1]
    bob = world.enter(B)
    world.answer(bob, *bob.mail())
    world.commit()
    alice.heard()
    world.deposit(alice, B, 99)
    assert not ids_of(alice.heard(), Refused), "there is room again"


def test_unknown_keys_and_expired_envelopes_are_refused_and_leave_nothing() -> None:
    world = World()
    alice = world.enter(A)
    world.connections.unregister(C)
    world.deposit(alice, C, 1)
    ended = int(WALL // HOUR) * HOUR
    world.deposit(alice, B, 2, expires=ended)
    refused = [frame.code for frame in alice.heard() if isinstance(frame, Refused)]
    assert refused == ["no_mailbox", stale_code(ended - WALL)]
    assert (world.mail.mailboxes, world.mail.unwritten, world.mail.accounting.disk_bytes) == (0, 0, 0)


def test_a_message_lives_no_longer_than_the_relay_keeps_any() -> None:
    world = World(RelayLimits(ttl_seconds=60))
    world.deposit(world.enter(A), B, 1)
    world.commit()
    assert world.disk.rows[1].expires == WALL + 60


def test_a_disk_that_fails_is_said_and_nothing_is_called_stored() -> None:
    world = World()
    alice = world.enter(A)
    first = world.deposit(alice, B, 1)
    world.disk.fail(world.mail)
    world.disk.take(world.mail)
    heard = alice.heard()
    assert ids_of(heard, Refused) == [first]
    assert ids_of(heard, Stored) == []
    assert world.mail.messages == (0, 0)
    world.deposit(alice, B, 1)
    world.commit()
    assert ids_of(alice.heard(), Stored) == [first]


def test_what_a_recipient_leaves_unanswered_fits_a_window_and_the_rest_waits_on_the_disk() -> None:
    world = World()
    alice = world.enter(A)
    ids = [world.deposit(alice, B, number) for number in range(100)]
    world.commit()
    bob = world.enter(B)
    got = bob.mail()
    assert got == ids[: mailbox.WINDOW_FRAMES]
    while len(got) < len(ids):
        world.answer(bob, got[-1])
        new = bob.mail()
        got += new
        assert len(new) <= mailbox.WINDOW_FRAMES
        if not new:
            world.answer(bob, *got)
            got += bob.mail()
    assert got == ids


def test_one_message_goes_out_however_large_it_is() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    large = bytes(1_049_776 - 64)
    ids = [world.deposit(alice, B, number, large) for number in range(2)]
    assert bob.mail() == ids[:1]
    world.answer(bob, ids[0])
    assert bob.mail() == ids[1:]


def test_what_became_of_deposits_is_told_to_whoever_made_them() -> None:
    world = World()
    alice, bob = world.enter(A), world.enter(B)
    pending = world.deposit(alice, B, 1)
    receipt = encode(Delivered((mark(b"r" * 16), mark(b"s" * 16)), bytes(64)))
    asked = [pending, b"r" * 16, b"s" * 16, b"t" * 16, b"u" * 16]
    answers = {b"r" * 16: receipt, b"s" * 16: receipt}
    world.mail.deposits.tell_what_became_of(alice, asked, {b"t" * 16}, answers)
    heard = alice.heard()
    assert ids_of(heard, Delivered) == [b"r" * 16, b"s" * 16]
    assert ids_of(heard, Stored) == [b"t" * 16]
    assert [(frame.envelope, frame.code) for frame in heard if isinstance(frame, Refused)] == [(b"u" * 16, "unknown")]
    world.mail.deposits.tell_what_became_of(bob, [pending], set(), {})
    assert ids_of(bob.heard(), Refused) == [pending], "another's deposit is unknown to everybody else"


def test_a_revoked_key_loses_its_mail() -> None:
    world = World()
    alice = world.enter(A)
    for number in range(3):
        world.deposit(alice, B, number)
    world.commit()
    world.mail.unregister(B)
    assert world.mail.accounting.disk_bytes == 0
    world.deposit(alice, B, 9)
    assert [frame.code for frame in alice.heard() if isinstance(frame, Refused)] == ["no_mailbox"]


# --- shares ---------------------------------------------------------------------------------------

HOME_HOST, OTHER_HOST = b"h-home", b"h-other"


def codes(line: Line) -> list[str]:
    return [frame.code for frame in line.heard() if isinstance(frame, Refused)]


@pytest.mark.parametrize("limits", [RelayLimits(max_queue=6), RelayLimits(max_mailbox_bytes=6 * 1712)])
def test_strangers_get_half_of_a_mailbox_and_those_whom_its_owner_knows_the_other(limits: RelayLimits) -> None:
    world = World(limits, strangers={(C, B)})
    alice, carol = world.enter(A, HOME_HOST), world.enter(C, OTHER_HOST)
    strange = [world.deposit(carol, B, number) for number in range(4)]
    assert codes(carol) == ["reserved"]
    known = [world.deposit(alice, B, number) for number in range(10, 14)]
    assert codes(alice) == ["mailbox_full"]
    world.commit()
    bob = world.enter(B)
    assert bob.mail() == [*strange[:3], *known[:3]], "nothing that was taken is given up for something newer"


def test_strangers_of_one_host_share_what_one_key_may_have_and_another_host_has_its_own() -> None:
    world = World(RelayLimits(max_queue=100, max_per_sender=2), strangers={(A, B), (C, B)})
    alice, carol = world.enter(A, HOME_HOST), world.enter(C, HOME_HOST)
    for number in range(3):
        world.deposit((alice, carol)[number % 2], B, number)
    assert codes(alice) == ["quota"]
    other = world.enter(D, OTHER_HOST)
    world.deposit(other, B, 9)
    assert not codes(other)


def test_one_host_takes_its_share_of_the_disk_and_another_still_gets_room() -> None:
    largest = b"x" * (max(WIRE_SIZES) - HEADER_SIZE)
    world = World(RelayLimits(max_disk_bytes=30 * MIB))
    alice, carol = world.enter(A, HOME_HOST), world.enter(C, OTHER_HOST)
    for number in range(3):
        world.deposit(alice, B, number, largest)
    assert codes(alice) == ["share"]
    world.deposit(carol, B, 9, largest)
    assert not codes(carol)
    world.commit()
    world.start()  # what is on the disk is charged to the same host as before
    alice = world.enter(A, HOME_HOST)
    world.deposit(alice, B, 10, largest)
    assert codes(alice) == ["share"]
    bob = world.enter(B)
    world.answer(bob, *bob.mail())
    world.deposit(alice, B, 11, largest)
    assert not codes(alice), "there is room again"


class Shares(RuleBasedStateMachine):
    """Whoever deposits, whatever the disk does: the shares are counted right, and nobody gets more than its own."""

    LIMITS = RelayLimits(max_queue=12, max_per_sender=4, max_disk_bytes=40 * MIB, host_disk_share=1e-4)
    HOSTS = {A: HOME_HOST, C: OTHER_HOST, D: OTHER_HOST}  # noqa: RUF012  never changed

    @initialize(strangers=st.sets(st.sampled_from([(A, B), (C, B), (D, B)])))
    def begin(self, strangers: set[tuple[bytes, bytes]]) -> None:
        self.world = World(self.LIMITS, strangers=strangers)
        self.ids = 0
        self.bobs: list[Line] = []
        self.enter_all()

    def enter_all(self) -> None:
        self.lines = {key: self.world.enter(key, host) for key, host in self.HOSTS.items()}

    @rule(key=st.sampled_from([A, C, D]), count=st.integers(1, 6))
    def deposit(self, key: bytes, count: int) -> None:
        for _ in range(count):
            self.ids += 1
            self.world.deposit(self.lines[key], B, self.ids)

    @rule(host=st.sampled_from([HOME_HOST, OTHER_HOST, b"n-shop"]), key=st.sampled_from([A, C, D]))
    def move(self, host: bytes, key: bytes) -> None:
        self.lines[key].account = host

    @rule()
    def receive(self) -> None:
        self.bobs.append(self.world.enter(B))

    @precondition(lambda self: self.bobs)
    @rule(count=st.integers(0, 5))
    def answer_and_leave(self, count: int) -> None:
        bob = self.bobs.pop()
        taken = bob.mail()[:count]
        if taken:
            self.world.answer(bob, *taken)
        self.world.leave(bob)

    @precondition(lambda self: self.world.disk.queue)
    @rule(works=st.booleans())
    def write(self, works: bool) -> None:  # noqa: FBT001
        (self.world.disk.commit if works else self.world.disk.fail)(self.world.mail)
        self.world.disk.take(self.world.mail)

    @rule()
    def restart(self) -> None:
        self.world.commit()
        self.bobs.clear()
        self.world.disk.accounts = {key: self.world.mail.accounting.accounts.of(key) for key in self.HOSTS}
        kept = dict(self.world.disk.accounts)
        self.world.start()
        self.enter_all()
        self.world.disk.accounts = kept

    @invariant()
    def all_is_charged_once_and_nobody_has_more_than_its_share(self) -> None:
        mail = self.world.mail
        charged = mail.accounting.accounts._bytes
        assert sum(charged.values()) == mail.accounting.disk_bytes
        mailbox = mail._mailboxes.get(B)
        if mailbox is None:
            assert not charged
            return
        assert mailbox.count == sum(count for count, _ in mailbox.shares.values()) == sum(mailbox.accounts.values())
        assert mailbox.bytes == sum(size for _, size in mailbox.shares.values())
        assert mailbox.count <= self.LIMITS.max_queue
        assert all(count <= self.LIMITS.max_per_sender for count, _ in mailbox.shares.values())
        known = [key for key in self.HOSTS if (key, B) not in self.world.strangers]
        if not known:
            assert mailbox.count <= self.LIMITS.max_queue // 2


TestShares = Shares.TestCase
TestShares.settings = settings(max_examples=100, stateful_step_count=30)


# --- whatever happens -----------------------------------------------------------------------------


class Post(RuleBasedStateMachine):
    """Deposits, answers, cuts, failing disks, crashes, in any order."""

    @initialize()
    def begin(self) -> None:
        self.world = World()
        self.lines: dict[bytes, list[Line]] = {A: [], B: []}
        self.stored: set[bytes] = set()
        self.done: set[bytes] = set()
        self.owed: set[bytes] = set()
        self.deposited: dict[bytes, bytes] = {}
        self.not_in_order: set[bytes] = set()
        self.offered: dict[Line, list[bytes]] = {}
        self.ids = self.since_crash = 0
        for key in (A, B):
            self.enter(key)

    # --- what happens

    @rule(key=st.sampled_from([A, B]))
    def enter(self, key: bytes) -> None:
        if len(self.lines[key]) < 3:
            self.lines[key].append(self.world.enter(key))

    @rule(key=st.sampled_from([A, B]), which=st.integers(0, 2))
    def leave(self, key: bytes, which: int) -> None:
        if which < len(self.lines[key]):
            self._listen()
            self.world.leave(self.lines[key].pop(which))
        if not self.lines[key]:  # whoever is away is told nothing, and asks when it is back
            self.owed = {envelope for envelope in self.owed if self.deposited[envelope] == key}

    @rule(to=st.sampled_from([A, B, B]), count=st.integers(1, 5))
    def deposit(self, to: bytes, count: int) -> None:
        for _ in range(count):
            for sender in self.lines[B if to == A else A][-1:]:
                self.ids += 1
                envelope = self.world.deposit(sender, to, self.ids)
                self.deposited[envelope] = to
                self.owed.add(envelope)

    @precondition(lambda self: self.deposited)
    @rule(data=st.data())
    def deposit_again(self, data: st.DataObject) -> None:
        envelope = data.draw(st.sampled_from(sorted(self.deposited)))
        to = self.deposited[envelope]
        for sender in self.lines[B if to == A else A][-1:]:
            self.world.deposit(sender, to, int.from_bytes(envelope))
            self.owed.add(envelope)
            self.not_in_order.add(envelope)

    @rule(key=st.sampled_from([A, B]), which=st.integers(0, 2), count=st.integers(1, 4))
    def answer(self, key: bytes, which: int, count: int) -> None:
        self._listen()
        if which >= len(self.lines[key]):
            return
        line = self.lines[key][which]
        waiting = [envelope for envelope in self.offered.get(line, []) if envelope not in self.done][:count]
        if waiting:
            self.world.answer(line, *waiting)
            self.done.update(waiting)

    @rule(key=st.sampled_from([A, B]), seconds=st.sampled_from([1, 30]))
    def put_off(self, key: bytes, seconds: int) -> None:
        self._listen()
        for line in self.lines[key][-1:]:
            for envelope in [one for one in self.offered.get(line, []) if one not in self.done][:1]:
                self.not_in_order.add(envelope)
                self.world.put_off(line, envelope, seconds)

    @rule(seconds=st.sampled_from([0.001, 0.021, 5, 61]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.disk.queue)
    @rule()
    def commit(self) -> None:
        self.world.disk.commit(self.world.mail)
        self.world.disk.take(self.world.mail)

    @precondition(lambda self: len(self.world.disk.queue) > 2)
    @rule()
    def fail(self) -> None:
        self.world.disk.fail(self.world.mail)
        self.world.disk.take(self.world.mail)

    @precondition(lambda self: self.since_crash > 25)
    @rule()
    def crash(self) -> None:
        self._listen()
        self.since_crash = 0
        self.owed.clear()
        self.world.disk.queue.clear()
        self.lines = {A: [], B: []}
        self.world.start()

    # --- what must hold

    def _listen(self) -> None:
        for lines in self.lines.values():
            for line in lines:
                for frame in line.heard():
                    if isinstance(frame, Stored):
                        assert self._is_safe(frame.envelope), "called stored without being on disk"
                        self.stored.add(frame.envelope)
                    if isinstance(frame, Refused):
                        self.owed.discard(frame.envelope)
                self.offered.setdefault(line, []).extend(line.mail())

    def _is_safe(self, envelope: bytes) -> bool:
        return envelope in self.done or any(row.envelope_id == envelope for row in self.world.disk.rows.values())

    @invariant()
    def stored_means_on_disk_or_answered(self) -> None:
        if hasattr(self, "world"):
            self.since_crash += 1
            self._listen()
            assert all(self._is_safe(envelope) for envelope in self.stored)

    @invariant()
    def each_connection_gets_its_mail_in_order(self) -> None:
        if hasattr(self, "world"):
            for ids in self.offered.values():
                once = [envelope for envelope in ids if envelope not in self.not_in_order]
                firsts = [envelope for at, envelope in enumerate(once) if envelope not in once[:at]]
                assert firsts == sorted(firsts)

    @invariant()
    def nothing_is_counted_that_is_not_there(self) -> None:
        if hasattr(self, "world"):
            mail = self.world.mail
            assert mail.messages[0] >= 0
            assert mail.accounting.memory_bytes >= 0
            assert mail.accounting.disk_bytes >= 0

    def teardown(self) -> None:
        """In the end everybody comes, the disk works, and everybody answers: then nothing is left."""
        if not hasattr(self, "world"):
            return
        world = self.world
        self._listen()
        world.pass_time(ELISION_SECONDS)
        world.commit()
        self._listen()
        assert all(self._is_safe(envelope) for envelope in self.owed), "neither safe nor refused"
        lines = {key: world.enter(key) for key in (A, B)}
        for _ in range(200):
            world.pass_time(61)
            world.commit()
            for line in lines.values():
                line.heard()
                ids = line.mail()
                self.done.update(ids)
                for envelope in ids:
                    world.answer(line, envelope)
        assert self.stored <= self.done
        world.commit()
        assert world.disk.rows == {}
        assert world.mail.messages == (0, 0)
        assert world.mail.accounting.memory_bytes == 0
        assert world.mail.accounting.disk_bytes == 0
        assert world.mail.unwritten == 0


class _SmallWindows(Post):
    """The same, with windows so small that a short run fills them."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(mailbox, "WINDOW_FRAMES", 2)
        self.patch.setattr(mailbox, "MAX_WAITING", 3)
        self.patch.setattr(mail_fetching, "WINDOW_FRAMES", 2)
        super().__init__()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.patch.undo()


_effort = settings(max_examples=150, stateful_step_count=50)
TestWhateverHappens = Post.TestCase
TestWhateverHappens.settings = _effort
TestWhateverHappensInSmallWindows = _SmallWindows.TestCase
TestWhateverHappensInSmallWindows.settings = _effort

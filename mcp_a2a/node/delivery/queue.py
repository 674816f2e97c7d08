"""The delivery queue: which message goes to which destination, by which route, and when. It does no I/O.

The shell feeds it what happened (`enqueue`, `answered`, `route_opened`, ...) with the clocks of the moment, and takes
what is to be done: `events`, `messages_to_send`, and the time of the next call (`next_timeout`). It knows ids,
destinations, routes, tokens and times. It knows no payload, key, signature, journal row or connection.

    shell     enqueue withdraw abandon attend hurry redated merged
    courier   route_opened route_closed unreachable sent not_sent answered looked
    out       events  messages_to_send  next_timeout -> handle_timeout

What ends a message
-------------------
A message is sent until its recipient has signed for it or against it, or until it expires. Every other report is
unproven: a relay says that it has stored the message, or that it will not; a link closes; a relay brings a genuine
signature of the recipient that belongs to another message. Therefore each state can be left for "waiting", at the
cost of sending a message twice, and the recipient recognizes it by its id. Four things only remove a message: the
recipient's signature over this very message (`answers`), expiry by both clocks (`expiry`), the shell, and a file that
can never go. An unsigned answer delays a message by at most `Patience.longest`. So a relay or a proxy can do no more
harm than a closed connection.

How the next message is found
-----------------------------
It depends on the order within each task, on unanswered messages, on two windows, on pauses, on the best route, and on
the tasks that the other end of a route lacks. A search through all messages for each push and each answer is simple,
and quadratic in a backlog. Here each task names at most one message and two pieces as candidates, and only a change in
that task names others (`pending`). A candidate is checked again at its turn, so a change does not search for the
candidates that it makes wrong. Pauses and unanswered messages are in one heap by time (`timers`). Copies at relays,
held messages, and the others that an event concerns, are indexed by what the event names. A call costs O(log n) for
each message whose state it changes. Opening a route can change many messages; each of them was put into its state by
a call of its own, which pays for it.

Why it does not spin
--------------------
Every deadline belongs to a message (the end of its pause, its answer, a sign of life) or to a destination (dial, look,
full route, reroute, barred file). `next_timeout` is the earliest. `handle_timeout` at that time removes each deadline
that is due or moves it into the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mcp_a2a.errors.protocol import LocalProtocolError
from mcp_a2a.node.delivery.answers import ANSWERS, Answered, Effect, Word
from mcp_a2a.node.delivery.contact import Contact
from mcp_a2a.node.delivery.decide import ACTIONS, Case
from mcp_a2a.node.delivery.events import CheckWanted, Event, MergeWanted
from mcp_a2a.node.delivery.expiry import wait_for
from mcp_a2a.node.delivery.model import (
    At,
    Block,
    Fault,
    Hurry,
    Looked,
    Obstacle,
    Outgoing,
    Route,
    Send,
    StoredCopy,
)
from mcp_a2a.node.delivery.overview import Overview
from mcp_a2a.node.delivery.patience import Patience
from mcp_a2a.node.delivery.pending import Pending, State
from mcp_a2a.node.delivery.schedule import Schedule
from mcp_a2a.node.delivery.waiting import Waiting

SLICE = 4
"""Messages that are sent before other work gets its turn."""


class DeliveryQueue(Overview):
    """Everything that the node has to deliver.

    Args:
        patience: the numbers of the courier that carries to a destination.
        chance: random numbers from 0 to 1, for pauses.
        first_number: number of the first message that was journalled in this run.
        since: sound time since which it is known how much time passes (`protocol.aging`).
    """

    def __init__(
        self, patience: Callable[[str], Patience], chance: Callable[[], float], first_number: int, since: float
    ) -> None:
        super().__init__(Waiting(patience, chance))
        self._contact = Contact(self._waiting)
        self._schedule = Schedule(self._waiting, self._contact, first_number, since)
        self._serial = 0
        self.happened = self._waiting.events
        """The events that `events` would return."""

    # --- what the node does ----------------------------------------------------------------------

    def enqueue(self, some: Outgoing, at: At, copy: StoredCopy | None = None) -> None:
        """Deliver a journalled message. One with an id that waits already changes nothing.

        The pieces of the files that a message names are queued before it. `copy` is what an earlier process left at a
        relay.
        """
        if some.id in self._waiting.entries:
            return
        self._serial += 1
        entry = Pending(some, self._serial)
        peer = self._waiting.add(entry)
        if len(peer.entries) == 1:
            peer.failures = 0
        if copy is not None and copy.token not in self._waiting.tokens:
            entry.token = copy.token
            self._waiting.tokens[copy.token] = entry
            self._waiting.store(entry, copy.address, at)
            self._schedule.reroute(peer, at)
        else:
            self._waiting.wait(entry, at)
        look_at = at.ticks + wait_for(some.expires - at.wall)
        if look_at < self._waiting.timers.due(None):
            self._waiting.timers.set(None, look_at)
        peer.dial_at = at.ticks  # however long it was away: a new message is worth an attempt at once
        self._schedule.touch(peer, at)

    def withdraw(self, ids: Iterable[str], at: At) -> None:
        """These messages need no more sending; the journal knows it already."""
        for entry in [self._waiting.entries[one] for one in ids if one in self._waiting.entries]:
            peer = self._waiting.peer_of(entry)
            self._waiting.remove(entry)
            self._schedule.touch(peer, at)

    def abandon(self, destination: str, at: At) -> None:
        """Nothing is sent to this destination any more."""
        peer = self._waiting.peers.get(destination)
        if peer is not None:
            self.withdraw(list(peer.entries), at)

    def attend(self, destination: str, at: At, *, wanted: bool, slow: bool = False) -> None:
        """Set whether an answer of this destination is awaited: then a route is kept, or its task is polled.

        `slow`: a person must act before there is news, so looks may wait for long.
        """
        peer = self._waiting.peer(destination) if wanted else self._waiting.peers.get(destination)
        if peer is None:
            return
        peer.slow = slow
        if wanted and peer.attended:
            return
        if wanted:
            peer.attended, peer.looks, peer.nonsense, peer.broke = True, 0, 0, False
            self._contact.rest(peer, at)
        peer.attended = wanted
        self._schedule.touch(peer, at)

    def hurry(self, destination: str | None, why: Hurry, at: At) -> None:
        """Try what waits for this destination now; without a destination, what waits for any."""
        peers = list(self._waiting.peers.values()) if destination is None else [self._waiting.peers.get(destination)]
        for peer in peers:
            if peer is None:
                continue
            match why:
                case Hurry.SIGHTED:
                    self._contact.hurry(peer, at)
                case Hurry.GREETED:
                    self._waiting.resume_all(peer.held.values(), at)
                case Hurry.CLOCK:
                    for entry in peer.stale.values():
                        entry.as_is = False
                    self._waiting.resume_all(peer.stale.values(), at)
            self._schedule.touch(peer, at)
        if why is Hurry.CLOCK:
            self._schedule.expire(at)

    def redated(self, message_id: str, dates: tuple[float, float] | None, at: At) -> None:
        """Answers `RedateWanted`: `created` and `expires` of the message now, or None if it goes as it is."""
        entry = self._waiting.entries.get(message_id)
        if entry is not None and entry.redating:
            self._schedule.redate(entry, dates, at)

    def merged(self, wanted: MergeWanted, merged: Mapping[str, Sequence[str]], at: At) -> None:
        """Answers `MergeWanted`: for each update that has absorbed others, which. Empty if none could."""
        peer = self._waiting.peers.get(wanted.destination)
        line = peer.lines.get(wanted.task) if peer is not None else None
        if peer is not None and line is not None:
            self._schedule.merge(peer, line, merged, at)

    # --- what couriers report --------------------------------------------------------------------

    def route_opened(self, destination: str, route: Route, at: At) -> None:
        """A route is open, or has changed (`Route.present`)."""
        peer = self._waiting.peer(destination)
        is_new = route.id not in peer.routes
        peer.set_route(route, at.ticks)
        peer.dialing, peer.paused_until = False, at.ticks
        if is_new:
            self._waiting.resume_all(peer.strange.values(), at)  # it may be the machine that asked
            if route.is_relayed:
                tokens = tuple(one.token for one in peer.stored.get(route.address, {}).values() if one.token)
                if tokens:
                    self._waiting.events.append(CheckWanted(destination, route, tokens))
            else:  # the destination itself: neither a copy at a relay nor the pause of one is waited for
                for entry in [one for copies in peer.stored.values() for one in copies.values()]:
                    self._waiting.wait(entry, at)
                self._waiting.resume_all(peer.obstructed.values(), at)
            self._contact.rest(peer, at)
        self._schedule.reroute(peer, at)
        self._schedule.touch(peer, at)

    def route_closed(self, destination: str, route_id: int, at: At, attempts: tuple[str, ...] = ()) -> None:
        """A route is closed, and what is under way on it may be lost. `attempts` says in words what happened."""
        peer = self._waiting.peers.get(destination)
        if peer is None or route_id not in peer.routes:
            return
        for entry in [one for one in peer.flying.values() if one.route is not None and one.route.id == route_id]:
            self._waiting.wait(entry, at)
        peer.drop_route(route_id, at.ticks)
        for entry in list(peer.strange.values()):
            entry.strangers.discard(route_id)
            if not entry.strangers:
                del peer.strange[entry.some.id]
        if peer.entries:
            peer.attempts = attempts
        peer.looking = peer.looking and bool(peer.routes)
        self._schedule.reroute(peer, at)
        self._contact.failed(peer, at)  # a destination that opens routes only to close them must not keep us busy
        self._schedule.touch(peer, at)

    def unreachable(self, destination: str, attempts: tuple[str, ...], at: At) -> None:
        """Answers `DialWanted`: there is no route."""
        peer = self._waiting.peers.get(destination)
        if peer is None or not peer.dialing:
            return
        peer.dialing, peer.attempts = False, attempts
        self._contact.failed(peer, at)

    def sent(self, message_id: str, token: bytes, at: At) -> None:
        """Answers `Send`: the message is on its route, and the answer to it will name `token`.

        Raises:
            LocalProtocolError: the token names another message.
        """
        entry = self._waiting.entries.get(message_id)
        if entry is None or entry.state is not State.OFFERED:
            return  # its route closed, or it was withdrawn, while the courier was at work
        if self._waiting.tokens.get(token, entry) is not entry:
            raise LocalProtocolError("The token of this message names another one.")
        self._waiting.fly(entry, token, at)
        self._waiting.peer_of(entry).obstacle = None

    def not_sent(self, message_id: str, fault: Fault, at: At) -> None:
        """Answers `Send`: the courier could not put the message on its route."""
        entry = self._waiting.entries.get(message_id)
        if entry is None or entry.state is not State.OFFERED:
            return
        peer = self._waiting.peer_of(entry)
        match fault:
            case Fault.FILE_LOST:
                self._schedule.lose_file(entry)
            case Fault.SYSTEM_LIMIT:
                self._waiting.wait(entry, at, peer.patience.system_limit)
                self._waiting.block(peer, Obstacle(Block.SYSTEM_LIMIT, seconds=peer.patience.system_limit))
            case _:
                self._waiting.wait(entry, at)
                self._schedule.stop_sending(peer, fault, at)
        self._schedule.touch(peer, at)

    def may_answer(self, token: bytes, route: Route, *, signed: bool) -> bool:
        """True if an answer that names `token` counts: it is the recipient's, or of what carries the message."""
        entry = self._waiting.tokens.get(token)
        return entry is not None and (signed or entry.went_by(route))

    def answered(self, token: bytes, answer: Answered, route: Route, at: At) -> None:
        """An answer that names `token` came by `route`. What it means is the table `answers.ANSWERS`."""
        entry = self._waiting.tokens.get(token)
        if entry is None or not (answer.signed or entry.went_by(route)):
            return  # settled already, or neither of the recipient nor of what carries it
        is_kept = entry.state is State.STORED
        word = Word.REFUSED if answer.word is Word.NOT_KEPT and not is_kept else answer.word
        effect = ANSWERS[word, answer.signed]
        if effect is Effect.KEEP and not (route.is_relayed and entry.went_by(route)):
            return  # only a relay stores
        peer = self._waiting.peer_of(entry)
        ACTIONS[effect](Case(self._waiting, peer, entry, answer, route, at))
        if effect is not Effect.DISBELIEVE:
            peer.failures, peer.attempts, peer.paused_until = 0, (), at.ticks
        if effect in (Effect.ACCEPT, Effect.DROP):
            peer.looks = peer.nonsense = 0
        self._schedule.reroute(peer, at)
        if peer.patience.look is not None:
            self._contact.rest(peer, at)
        self._schedule.touch(peer, at)

    def looked(
        self, destination: str, outcome: Looked | Fault, at: At, retry_after: float = 0.0, why: tuple[str, ...] = ()
    ) -> None:
        """Answers `LookWanted`: what the look showed, or why it failed, and that in words."""
        peer = self._waiting.peers.get(destination)
        if peer is not None and peer.looking:
            peer.attempts = why
            self._contact.looked(peer, outcome, retry_after, at)

    # --- what the shell takes --------------------------------------------------------------------

    def next_timeout(self) -> float:
        """Ticks at which `handle_timeout` is to be called; infinity if at none."""
        return self._waiting.timers.next()

    def handle_timeout(self, at: At) -> None:
        """Time has passed."""
        self._schedule.handle_timeout(at)

    def messages_to_send(self, at: At, most: int = SLICE) -> list[Send]:
        """Messages to put on their routes now, of destinations in turn.

        Of one task there is one message at a time, so that none overtakes another that a courier could not send. Call
        again after the courier has reported, until there are none.
        """
        sends: list[Send] = []
        active = self._waiting.active
        while active and len(sends) < most:
            sends += self._schedule.sends(active.pop(next(iter(active))), at, most - len(sends))
        return sends

    def events(self) -> list[Event]:
        """The events since the last call, in order."""
        taken = self.happened.copy()
        self.happened.clear()
        return taken

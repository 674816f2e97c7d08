"""A delivery queue, its clocks, and a courier that keeps what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mcp_a2a.node.delivery.answers import Answered, Word
from mcp_a2a.node.delivery.events import Event, MergeWanted, RedateWanted
from mcp_a2a.node.delivery.model import At, Kind, Outgoing, Route, Send, StoredCopy, Way
from mcp_a2a.node.delivery.patience import SEALED, Patience
from mcp_a2a.node.delivery.queue import DeliveryQueue

DAY = 86_400.0
WEEK = 7 * DAY
EPOCH = 1_800_000_000.0
BOB = "did:bob"
DIRECT = Route(1, "ws://bob", Way.DIRECT)
RELAY = Route(2, "wss://relay", Way.RELAY)
RELAY_2 = Route(3, "wss://other", Way.RELAY)
DIRECT_2 = Route(4, "ws://bob:2", Way.DIRECT)
START = At(1000.0, EPOCH, EPOCH, 5000.0)


@dataclass
class Scene:
    """Feeds a queue, and answers what the shell answers at once."""

    patience: Patience = SEALED
    first_number: int = 0
    since: float = 0.0
    at: At = START
    chance: float = 1.0
    seen: list[Event] = field(default_factory=list)
    numbers: int = 0
    tokens: int = 0
    sends: dict[str, Send] = field(default_factory=dict)
    """The newest of each message."""
    flying: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.queue = DeliveryQueue(lambda _: self.patience, lambda: self.chance, self.first_number, self.since)

    def put(self, *rows: str, pieces: int = 1, to: str = BOB, copy: StoredCopy | None = None) -> list[str]:
        """Rows of a kind and a task, "task t"; a piece names its file as well, "blob t f"."""
        ids = []
        for row in rows:
            kind, task, file = (*row.split(), "", "")[:3]
            self.numbers += 1
            ids.append(f"{kind}{self.numbers}")
            some = Outgoing(
                ids[-1], self.numbers, to, task, Kind(kind), self.at.wall, self.at.wall + WEEK, self.at.sound,
                file=file, pieces=pieces if kind == "blob" else 0,
            )  # fmt: skip
            self.queue.enqueue(some, self.at, copy)
        return ids

    def open(self, *routes: Route, to: str = BOB) -> None:
        for route in routes:
            self.queue.route_opened(to, route, self.at)

    def close(self, route: Route, to: str = BOB) -> None:
        self.queue.route_closed(to, route.id, self.at, ("it closed",))

    def go(self, most: int = 100) -> list[str]:
        """Ids of what is sent now."""
        ids = []
        while sends := self.queue.messages_to_send(self.at, most):
            for send in sends:
                self.tokens += 1
                token = b"%d" % self.tokens
                self.sends[send.id], self.flying[send.id] = send, token
                self.queue.sent(send.id, token, self.at)
                ids.append(send.id)
        return ids

    def answer(self, message: str, answer: Answered, route: Route | None = None) -> None:
        self.queue.answered(self.flying[message], answer, route or self.sends[message].route, self.at)

    def sign_for(self, *messages: str) -> None:
        for message in messages:
            self.answer(message, Answered(Word.DELIVERED, signed=True))

    def refuse(self, message: str, code: str, *, signed: bool = False, later: float | None = None) -> None:
        self.answer(message, Answered.refused(code, signed=signed, retry_after=later))

    def store(self, *messages: str) -> None:
        for message in messages:
            self.answer(message, Answered(Word.STORED))

    def hold(self, *messages: str) -> None:
        for message in messages:
            self.answer(message, Answered(Word.HELD, signed=True))

    def events(self, *kinds: type[Event]) -> list[Event]:
        """New events, of these kinds."""
        new = self.queue.events()
        self.seen += new
        return [event for event in new if isinstance(event, kinds)] if kinds else new

    def tick(self, seconds: float) -> None:
        """Time passes, and every deadline on the way is kept."""
        end = self.at.ticks + seconds
        for _ in range(10_000):
            due = self.queue.next_timeout()
            if due > end:
                break
            self._move(max(0.0, due - self.at.ticks))
            self.queue.handle_timeout(self.at)
        else:
            raise AssertionError("it spins")
        self._move(end - self.at.ticks)

    def jump(self, wall: float = 0.0, sound: float = 0.0) -> None:
        self.at = replace(self.at, wall=self.at.wall + wall, sound=self.at.sound + sound)

    def _move(self, seconds: float) -> None:
        at = self.at
        self.at = At(at.ticks + seconds, at.wall + seconds, at.sound + seconds, at.uptime + seconds)


def wanted_dates(events: list[Event]) -> list[str]:
    return [event.id for event in events if isinstance(event, RedateWanted)]


def wanted_merges(events: list[Event]) -> list[MergeWanted]:
    return [event for event in events if isinstance(event, MergeWanted)]

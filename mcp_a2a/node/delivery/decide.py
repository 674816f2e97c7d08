"""The actions of the queue for answers: one function for each `Effect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mcp_a2a.node.delivery.answers import SLOWED, Answered, Effect
from mcp_a2a.node.delivery.events import MessageDelivered, MessageDropped, MessageHeld, MessagePutOff, MessageStored
from mcp_a2a.node.delivery.expiry import fits
from mcp_a2a.node.delivery.model import RESULTS, At, Block, Fault, Obstacle, Route
from mcp_a2a.node.delivery.patience import Patience
from mcp_a2a.node.delivery.peer_queue import PeerQueue
from mcp_a2a.node.delivery.pending import Pending, State
from mcp_a2a.node.delivery.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to one message."""

    waiting: Waiting
    peer: PeerQueue
    entry: Pending
    answer: Answered
    route: Route
    at: At

    @property
    def patience(self) -> Patience:
        """The numbers of the courier that carries for this destination."""
        return self.peer.patience

    def bounded(self, seconds: float) -> float:
        """A pause that another machine asks for, as long as it may be. What is no number is none."""
        return min(seconds, self.patience.longest) if seconds > 0 else 0.0

    def asked(self, seconds: float) -> float:
        """The same, and the longer the more attempts have failed: a liar that asks for none would keep us busy."""
        least = self.patience.asked.pause(self.entry.tries, self.waiting.chance())
        return self.bounded(max(seconds if seconds > 0 else 0.0, least))

    def retry(self) -> None:
        """Wait for another attempt, the longer the more have failed."""
        self.entry.tries += 1
        self.entry.anew = True
        self.waiting.wait(self.entry, self.at, self.patience.retry.pause(self.entry.tries, self.waiting.chance()))

    def is_over(self, fault: Fault) -> bool:
        """Count a failure; whether there were as many as there may be."""
        count = self.entry.counts[fault] = self.entry.counts.get(fault, 0) + 1
        return fault in self.patience.limits and count >= self.patience.limits[fault]


def accept(case: Case) -> None:
    """The recipient has it."""
    case.waiting.remove(case.entry)
    case.waiting.events.append(MessageDelivered(case.entry.some.id))


def disbelieve(case: Case) -> None:
    """The recipient has not signed that for this message. Its envelope may be lost, so it goes out in another."""
    case.retry()


def keep(case: Case) -> None:
    """The relay that it went to keeps a copy: another message may go in its place."""
    entry, address, token = case.entry, case.route.address, case.entry.token
    is_news = entry.state is not State.STORED
    case.waiting.store(entry, entry.address or address, case.at)
    case.waiting.set_obstacle(entry, None)
    if is_news and token is not None:
        case.waiting.events.append(MessageStored(entry.some.id, address, token))
    if case.peer.has_direct(entry):
        case.waiting.wait(entry, case.at)  # its recipient came meanwhile: the copy at the relay is not waited for


def hold(case: Case) -> None:
    """The owner of the recipient must decide first."""
    case.entry.anew = True
    pause = case.patience.held_relayed if case.route.is_relayed else case.patience.held
    case.waiting.hold(case.entry, case.at, pause)
    case.waiting.events.append(MessageHeld(case.entry.some.id))


def reseal(case: Case) -> None:
    """It goes out sealed to the key that was shown. A machine that shows one key after another gets a pause."""
    entry = case.entry
    entry.anew = True
    entry.nacks += 1
    is_stuck = entry.nacks > case.patience.nacks
    case.waiting.wait(entry, case.at, case.patience.busy if is_stuck else 0.0)
    if is_stuck:
        case.waiting.block(case.peer, Obstacle(Block.KEY_NOT_THERE, case.route, seconds=case.patience.busy))


def send_now(case: Case) -> None:
    """The relay no longer has what it stored. One that says so each time has it sent ever less often."""
    pause = case.asked(0.0) if case.entry.tries else 0.0
    case.entry.tries += 1
    case.entry.anew = True
    case.waiting.wait(case.entry, case.at, pause)


def put_off(case: Case) -> None:
    """The recipient has not decided this, so it is not for good: try again later, and say why it takes so long.

    The pause is the word of any carrier as well, so it is not so long that the message expires of it.
    """
    entry, patience = case.entry, case.patience
    entry.anew = True
    entry.tries += 1
    asked = case.answer.retry_after
    if asked is None:
        pause = case.bounded(patience.put_off.pause(entry.tries, case.waiting.chance()))
    else:
        pause = case.asked(asked)
    is_slow = case.answer.code in SLOWED
    if is_slow:
        case.peer.slow_until = max(case.peer.slow_until, case.at.ticks + pause + patience.slow)
    case.waiting.wait(entry, case.at, pause)
    if not (is_slow and entry.is_piece):
        _tell(case, Obstacle(Block.REFUSED, case.route, case.answer.code, pause))


def try_elsewhere(case: Case) -> None:
    """The recipient has no such task: another machine with its key asked for it, or has yet to find it again."""
    entry, peer = case.entry, case.peer
    entry.anew = True
    entry.tries += 1
    entry.strangers.add(case.route.id)
    peer.strange[entry.some.id] = entry
    others = any(one not in entry.strangers for one in peer.routes)
    pause = 0.0 if others else case.patience.elsewhere.pause(min(entry.tries, 10), case.waiting.chance())
    case.waiting.wait(entry, case.at, pause)


def wait_busy(case: Case) -> None:
    """The recipient takes it later. A caller that waits for the task waits on, unless the pause is long."""
    entry, usual = case.entry, case.patience.busy
    entry.anew = True
    entry.tries += 1
    pause = case.asked(case.answer.retry_after or usual)
    case.waiting.wait(entry, case.at, pause)
    case.waiting.set_obstacle(entry, None)
    if entry.is_piece or pause < case.patience.full:
        return
    obstacle = Obstacle(Block.BUSY, case.route, case.answer.code, pause)
    if pause > usual:
        _tell(case, obstacle)
    else:
        case.waiting.block(case.peer, obstacle)


def wait_clock(case: Case) -> None:
    """The clocks differ: offer it again under other dates, and if there are none later, for a day."""
    entry, at, patience = case.entry, case.at, case.patience
    entry.anew = True
    entry.stale_since = at.uptime if entry.stale_since is None else entry.stale_since
    if entry.some.kind not in RESULTS and at.uptime - entry.stale_since >= patience.clock:
        case.waiting.refuse(entry, case.answer.code)
        return
    case.peer.stale[entry.some.id] = entry
    if not fits(entry.some, at):
        entry.judged = True  # this machine's clock was set after it had gone
        case.waiting.wait(entry, at)
        return
    pause_for_clock(case.waiting, entry, at, case.route, case.answer.code)


def pause_for_clock(waiting: Waiting, entry: Pending, at: At, route: Route | None = None, code: str = "") -> None:
    """A message that was refused because of a clock waits."""
    peer = waiting.peer_of(entry)
    entry.tries += 1
    pause = peer.patience.clocks.pause(min(entry.tries - 1, 8), waiting.chance())
    waiting.wait(entry, at, pause)
    obstacle = Obstacle(Block.CLOCKS, route, code, pause)
    waiting.set_obstacle(entry, obstacle)
    waiting.block(peer, obstacle)
    waiting.events.append(MessagePutOff(entry.some.id, obstacle))


def retry_reading(case: Case) -> None:
    """The recipient could not read it. It is sealed anew a few times, and then counts as poison."""
    if case.is_over(Fault.UNREADABLE):
        refuse(case)
    else:
        case.retry()


def refuse(case: Case) -> None:
    """It will never be taken."""
    case.waiting.refuse(case.entry, case.answer.code)


def count_lost(case: Case) -> None:
    """Each time the recipient may have acted on it, so it is not told for ever."""
    if case.is_over(Fault.LOST):
        case.waiting.refuse(case.entry, case.answer.code)
    else:
        case.retry()
        _tell(case, Obstacle(Block.REFUSED, case.route, case.answer.code))


def drop(case: Case) -> None:
    """The recipient went on already."""
    case.waiting.remove(case.entry)
    case.waiting.events.append(MessageDropped(case.entry.some.id))


def _tell(case: Case, obstacle: Obstacle) -> None:
    case.waiting.set_obstacle(case.entry, obstacle)
    case.waiting.block(case.peer, obstacle)
    case.waiting.events.append(MessagePutOff(case.entry.some.id, obstacle))


ACTIONS: Mapping[Effect, Callable[[Case], None]] = MappingProxyType(
    {
        Effect.ACCEPT: accept,
        Effect.DISBELIEVE: disbelieve,
        Effect.KEEP: keep,
        Effect.HOLD: hold,
        Effect.RESEAL: reseal,
        Effect.SEND_NOW: send_now,
        Effect.PUT_OFF: put_off,
        Effect.TRY_ELSEWHERE: try_elsewhere,
        Effect.WAIT_BUSY: wait_busy,
        Effect.WAIT_CLOCK: wait_clock,
        Effect.RETRY_READING: retry_reading,
        Effect.REFUSE: refuse,
        Effect.COUNT_LOST: count_lost,
        Effect.DROP: drop,
    }
)

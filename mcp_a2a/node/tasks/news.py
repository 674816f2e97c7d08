"""Events of a node, for its owner to watch: numbered, the newest kept, and without the content of any task.

Nothing is noted before the first reader, and nothing for long after the last one: a node without readers pays
nothing. A reader asks for the events after a number, and learns how many it has missed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from mcp_a2a.api.news import EventKind, EventView, NewsRequest, NewsView
from mcp_a2a.api.view import AgentRef
from mcp_a2a.node.networks.networks import Networks
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context, ticks_of_loop, wait_until
from mcp_a2a.node.runtime.handlers import answers
from mcp_a2a.node.tasks.contact_requests import HELD_SECONDS
from mcp_a2a.node.tasks.intake import Intake
from mcp_a2a.protocol.moment import moment_of
from mcp_a2a.protocol.rates import Buckets, Rate
from mcp_a2a.protocol.state import TaskState
from mcp_a2a.protocol.task.table import MOVES
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.text import preview
from mcp_a2a.protocol.times import iso
from mcp_a2a.store.records import find_task
from mcp_a2a.store.task_events import ENDS, KINDS, kinds_after

MAX_EVENTS = 512
"""Events that a reader may be late for: more than a terminal shows in minutes."""

MAX_TASKS = 4096
"""Tasks of which it is remembered what was told, so that each event is told once."""

MEMORABLE = frozenset({"asked", "authorization_asked", "accepted", "progressed", "replied"})
"""Events between which a question is another one; asked twice with none of the others between, it is told once."""

STATES = {KINDS[event]: state for event, state in MOVES.items()}
"""The state that each event led to. The task may be further: all changes of one commit are on the disk by then."""

RECEIVED: frozenset[EventKind] = frozenset({"task_received", "question_asked", "task_answered"})
"""Events of the tasks that others have sent here."""

UNREAD_SECONDS = 120.0
"""After so long without a reader nothing is noted any more."""

SET_BACK_SECONDS = 60.0
"""Seconds for which a change is still news: where the clock was set back, changes since then are dated before."""

REFUSED_RATE = Rate(per_second=1 / 60, burst=1)
"""Of one blocked sender: it may try a thousand times a minute."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The point up to which a task was told."""

    number: int = 0
    """Of its newest event that was looked at."""
    kind: str = ""
    """The newest of those that tell whether it asks."""


class _Readers:
    """Readers, and how far they were told of each task."""

    def __init__(self) -> None:
        self.since: float | None = None
        """Start of their reading, by the clock that dates tasks; None while there is no reader."""
        self.told: OrderedDict[str, _Told] = OrderedDict()
        self._read_at = 0.0
        self._ticks = ticks_of_loop()

    def read(self, clock: Callable[[], float]) -> None:
        """One of them reads now."""
        if self.since is None:
            self.since = clock()
        self._read_at = self._ticks()

    def are_there(self) -> bool:
        """True if one has read of late."""
        if self.since is not None and self._ticks() - self._read_at > UNREAD_SECONDS:
            self.since = None
            self.told.clear()
        return self.since is not None

    def remember(self, task_id: str, told: _Told) -> None:
        """They were told so far."""
        self.told[task_id] = told
        self.told.move_to_end(task_id)
        if len(self.told) > MAX_TASKS:
            self.told.popitem(last=False)


class News:
    """The events of a node."""

    def __init__(self, context: Context, intake: Intake, networks: Networks, called: Callable[[str, str], str]) -> None:
        self._context = context
        self._called = called
        """The owner's name for the agent with a did or URL, whose own name is the second argument."""
        self._run = context.fresh_id()
        self._events: deque[tuple[int, EventView]] = deque(maxlen=MAX_EVENTS)
        self._number = 0
        self._grew = anyio.Event()
        self._ticks = ticks_of_loop()
        self._readers = _Readers()
        self._readers_of_received = _Readers()
        """The readers among them that hear of received tasks."""
        self._waiting: dict[str, float] = {}
        """Strangers whose contact request was told of, and when, by the machine's uptime."""
        self._refused: Buckets[str] = Buckets(REFUSED_RATE, limit=1024)
        context.task_changes.listeners.append(self._task_changed)
        intake.on_task, intake.on_blocked = self.task_received, self.refused
        intake.contacts.on_held = self.contact_requested
        networks.on_newcomer = self.member_joined

    # --- reading ---------------------------------------------------------------------------------

    @answers(NewsRequest)
    async def read(self, request: NewsRequest) -> NewsView:
        """The events after the number of the request, waiting for them; without a number, only the newest number."""
        self._note(request)
        after = request.after if request.run == self._run and request.after is not None else self._number
        if after >= self._number and request.after is not None:
            await wait_until(self._grew, request.wait_seconds)
            self._note(request)
        kept = [event for number, event in self._events if number > after]
        found = tuple(event for event in kept if request.received or event.kind not in RECEIVED)
        return NewsView(run=self._run, number=self._number, events=found, missed=self._number - after - len(kept))

    def _note(self, request: NewsRequest) -> None:
        self._readers.read(self._context.clock)
        if request.received:
            self._readers_of_received.read(self._context.clock)

    # --- telling ---------------------------------------------------------------------------------

    def task_received(self, record: Task) -> None:
        """A task of another agent, or of a client, was stored."""
        readers = self._readers_of_received
        if readers.are_there() and record.id not in readers.told:
            readers.remember(record.id, _Told(number=1))
            self._tell("task_received", record)

    def contact_requested(self, peer: Peer) -> None:
        """A message of a stranger is held until the owner decides; told once for each stranger, and day."""
        now = self._context.clocks.uptime()
        if self._readers.are_there() and now - self._waiting.get(peer.row.did, -HELD_SECONDS) >= HELD_SECONDS:
            self._waiting = {did: told for did, told in self._waiting.items() if now - told < HELD_SECONDS}
            self._waiting[peer.row.did] = now
            self._tell("contact_request", agent=_ref(peer))

    def decided(self, peer: Peer, level: str, what_waited: str | None) -> None:
        """The owner has decided about an agent, and what became of its messages that waited."""
        self._waiting.pop(peer.row.did, None)
        kinds: dict[str, EventKind] = {"trusted": "agent_trusted", "blocked": "agent_blocked"}
        if level in kinds and self._readers.are_there():
            self._tell(kinds[level], agent=_ref(peer), detail=what_waited)

    def member_joined(self, peer: Peer, network: str) -> None:
        """An agent turned out to be in a network of ours."""
        if self._readers.are_there():
            self._tell("member_joined", agent=_ref(peer), network=network)

    def refused(self, peer: Peer) -> None:
        """A message of a blocked agent was refused; told once a minute for each."""
        if self._readers.are_there() and not self._refused.of(peer.row.did, self._ticks()).take(1, self._ticks()):
            self._tell("message_refused", agent=_ref(peer))

    # ---------------------------------------------------------------------------------------------

    def _task_changed(self, task_id: str, known: Task | None) -> None:
        readers = self._readers_of_received if known is not None and not known.sent else self._readers
        if readers.since is None or not readers.are_there():
            return
        task = known or self._context.database.read(lambda connection: find_task(connection, task_id))
        if task is None:
            return
        readers = self._readers if task.sent else self._readers_of_received
        if readers.since is None:
            return
        if (now := self._context.clock()) < readers.since:
            readers.since = now - SET_BACK_SECONDS
        told = readers.told.get(task_id)
        last, number = told or _Told(), told.number if told is not None else 0
        for entry in self._context.database.read(lambda connection: kinds_after(connection, task_id, number)):
            news = _kind_of(task, entry.kind)
            is_new = told is not None or entry.at >= readers.since
            if news is not None and is_new and entry.kind != last.kind:
                self._tell(news, task, state=STATES.get(entry.kind))
            last = _Told(entry.number, entry.kind if entry.kind in MEMORABLE else last.kind)
        readers.remember(task_id, last)

    def _tell(
        self,
        kind: EventKind,
        record: Task | None = None,
        *,
        state: TaskState | None = None,
        agent: AgentRef | None = None,
        network: str | None = None,
        detail: str | None = None,
    ) -> None:
        if record is not None:
            agent = AgentRef(name=record.peer_name, did=record.peer)
        if agent is not None:
            agent = AgentRef(name=self._called(agent.did, agent.name), did=agent.did)
        event = EventView(
            kind=kind,
            at=iso(self._context.clock()),
            agent=agent,
            task_id=record.id if record is not None else None,
            skill=preview(record.skill, 128) if record is not None and record.skill else None,
            state=moment_of(state or record.state, record.delivery) if record is not None else None,
            network=network,
            detail=detail,
        )
        self._number += 1
        self._events.append((self._number, event))
        grew, self._grew = self._grew, anyio.Event()
        grew.set()


def _ref(peer: Peer) -> AgentRef:
    return AgentRef(name=peer.name, did=peer.row.did)


def _kind_of(task: Task, kind: str) -> EventKind | None:
    if kind == "opened":
        return None if task.sent else "task_received"
    if kind in ENDS:
        return "answer_received" if task.sent else "task_answered"
    if kind in ("asked", "authorization_asked"):
        return "question_received" if task.sent else "question_asked"
    return None

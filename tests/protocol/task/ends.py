"""Two ends of one task, without a database, a clock or a wire: each does what a node does with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from mcp_a2a.api.inbox import AnswerRequest
from mcp_a2a.node.tasks.answers import facts_of_answer
from mcp_a2a.protocol.model import Artifact, Message, TaskState
from mcp_a2a.protocol.payload import LAST_SEQ, UpdateBody
from mcp_a2a.protocol.task import events as e
from mcp_a2a.protocol.task.events import Event
from mcp_a2a.protocol.task.machine import Change, refusal, withdrawal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.task.updates import facts_of, update_of
from tests.protocol.task.samples import ERROR, T0, message, opening

MAX_ATTEMPTS = 2


@dataclass(frozen=True)
class Letter:
    """A message about the task, in the outbox of one end."""

    number: int
    kind: str
    seq: int
    body: UpdateBody | Message | None = None

    @property
    def is_whole(self) -> bool:
        return isinstance(self.body, UpdateBody) and self.body.whole is not None


Outcome = tuple[TaskState, tuple[object, ...], tuple[Artifact, ...], bool]


def outcome_of(task: Task) -> Outcome:
    """Where a task stands, and with which words and artifacts."""
    words = task.status.message.parts if task.status.message is not None else ()
    return task.state, words, task.artifacts, task.direct


@dataclass
class End:
    """A journal: the task, and the messages that wait for a receipt, oldest first."""

    task: Task | None = None
    outbox: dict[int, Letter] = field(default_factory=dict)
    now: float = T0
    restored: bool = False
    numbers: Iterator[int] = field(default_factory=count)

    def record(self, *events: Event) -> Change:
        assert self.task is not None
        self.now += 1
        change = Change.of(self.task, *events, now=self.now)
        self.task = change.task
        return change

    def open(self, event: e.Opened, *events: Event) -> Change:
        self.now += 1
        change = Change.opening(event, *events, now=self.now)
        self.task = change.task
        return change

    def write(self, kind: str, body: UpdateBody | Message | None = None) -> Letter:
        assert self.task is not None
        letter = Letter(next(self.numbers), kind, self.task.seq_out, body)
        self.outbox[letter.number] = letter
        return letter

    def drop(self, *kinds: str) -> None:
        self.outbox = {number: one for number, one in self.outbox.items() if one.kind not in kinds}

    def backup(self) -> tuple[Task | None, dict[int, Letter]]:
        return self.task, dict(self.outbox)

    def restore(self, kept: tuple[Task | None, dict[int, Letter]]) -> None:
        self.task, self.outbox, self.restored = kept[0], dict(kept[1]), True


class Asker(End):
    """Who asked for the task."""

    is_cut = False
    """Its end was decided here: by a refusal, an expiry or a withdrawal, and not by what the agent says."""

    def ask_for_it(self) -> None:
        self.open(opening("sent"))
        self.write("task")

    def reply(self, text: str) -> None:
        self.record(said := e.Replied(message(text)), e.Spoken())
        self.write("message", said.message)

    def cancel(self) -> None:
        assert self.task is not None
        self.drop("task", "message")
        withdrawn = self.record(withdrawal(self.task), e.Spoken())
        self.is_cut = self.is_cut or withdrawn.task.done
        self.write("cancel")

    def receipted(self, letter: Letter) -> None:
        self.outbox.pop(letter.number, None)
        if letter.kind == "task" and self.task is not None:
            self.record(e.Delivered())

    def undeliverable(self, letter: Letter, *, refused: bool) -> None:
        """A final refusal, or the end of its lifetime."""
        self.outbox.pop(letter.number, None)
        if letter.kind == "cancel" or self.task is None or self.task.done:
            return
        self.record(refusal(self.task, ERROR, choosing=False) if refused else e.Expired(ERROR))
        self.is_cut = True

    def told(self, letter: Letter) -> bool:
        """An update came. False: it is not acknowledged, and comes again."""
        assert isinstance(letter.body, UpdateBody)
        if self.task is None:
            return False
        facts = facts_of(self.task, letter.seq, letter.body)
        if facts is None:
            return False
        self.record(*facts)
        if any(isinstance(fact, e.Delivered) for fact in facts):
            self.drop("task")
        return True


class Agent(End):
    """Who works on it."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Outcome] = []
        """Each end that was ever recorded here."""
        self.made: list[tuple[Artifact, ...]] = [()]
        """All artifacts that there were here, at any time."""

    def tell(self, change: Change, *, whole: bool = False) -> None:
        if whole:  # the one before says less
            self.outbox = {number: one for number, one in self.outbox.items() if not one.is_whole}
        self.write("update", update_of(change, whole=whole))
        self.made.append(change.task.artifacts)
        if change.task.done:
            self.ends.append(outcome_of(change.task))

    def took(self, letter: Letter) -> None:
        """A letter of the asker came."""
        if letter.kind == "task":
            self._take(letter)
        elif letter.kind == "cancel":
            self._called_off()
        elif self.task is not None and not self.task.done:
            assert isinstance(letter.body, Message)
            if not self.task.has_heard(letter.body):
                self.record(e.Replied(letter.body, seq=letter.seq))

    def _take(self, letter: Letter) -> None:
        if self.task is None:
            self.open(opening("received", seq_in=letter.seq))
        else:
            self.tell_again(-1)

    def _called_off(self) -> None:
        if self.task is None:  # its task is on its way, or was here and is forgotten
            self.tell(self.open(opening("received", seq_out=LAST_SEQ - 1), e.Canceled(), e.Spoken()))
        elif not self.task.done:
            self.tell(self.record(e.Canceled(), e.Spoken()))

    def asked(self, seq: int) -> None:
        """The asker says which update is the newest that it knows."""
        if self.task is not None and self.task.seq_out != max(seq, 0):
            self.tell_again(seq)

    def tell_again(self, seq: int) -> None:
        assert self.task is not None
        if self.task.seq_out or seq > 0:
            self.tell(self.record(e.Resent(seq, self.task.artifacts, self.task.status), e.Spoken()), whole=True)

    # --- work ---

    def lease(self) -> None:
        self.record(e.Leased("claude", worker=False, until=self.now + 60))

    def lease_ends(self, *, crashed: bool) -> None:
        assert self.task is not None
        if self.task.attempts >= MAX_ATTEMPTS:
            self.tell(self.record(e.Failed(error=ERROR), e.Spoken()))
        else:
            self.record(e.LeaseEnded(crashed))

    def answer(self, answer: AnswerRequest) -> None:
        assert self.task is not None
        facts = facts_of_answer(self.task, answer, self.now + 1, self.now + 60, f"m-{next(self.numbers)}")
        self.tell(self.record(*facts, e.Spoken()))

    @property
    def is_leased(self) -> bool:
        return self.task is not None and self.task.lease_until is not None

    def can(self, event: type[Event]) -> bool:
        return self.task is not None and can(self.task.state, event)


def heal(asker: Asker, agent: Agent) -> None:
    """Deliver all that waits, in order, until both ends have said everything."""
    for _ in range(50):
        if asker.task is None:
            asker.ask_for_it()  # again, under its key
        for letter in tuple(asker.outbox.values()):
            agent.took(letter)
            asker.receipted(letter)
        for letter in tuple(agent.outbox.values()):
            if asker.told(letter):
                agent.outbox.pop(letter.number, None)
        if not asker.task.done:
            agent.asked(asker.task.seq_in)
        if not asker.outbox and not agent.outbox:
            return
    raise AssertionError("the two ends never come to rest")


def finish(agent: Agent) -> None:
    """Let the agent end what no caller must answer first."""
    if agent.task is not None and agent.task.state in (TaskState.SUBMITTED, TaskState.WORKING):
        agent.answer(AnswerRequest(task_id=agent.task.id, status="completed", text="all of it"))

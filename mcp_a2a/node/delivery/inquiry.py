"""Asks after the tasks that we sent, so that every answer comes back, whichever side was away.

An answer waits at its agent until a link to us is open. Where the agent cannot dial us, only we can open one: an open
task is a reason to dial its agent, as an unsent message is (`Outbox.seek`). On each new link we say how far we know
our open tasks there; the agent tells again what we do not know. So an answer is found also when a journal went back in
time: a data folder restored from a backup, or a copied machine whose twin has taken the answer. Where it is the
agent's journal that went back, the question tells it from which number on its updates count.

    asker -- ask [(task, newest seq known)] --> agent
    asker <-- update of each that it knows otherwise, whole --
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

import anyio

from mcp_a2a.errors.delivery import LinkError, TooLargeError, UnsendableError
from mcp_a2a.node.delivery.letters import ASK_SECONDS, ask_payload, update_letter
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.runtime.context import Context, wait_until
from mcp_a2a.ports import Link
from mcp_a2a.protocol.blob import BlobRef, is_blob
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.envelope import seal
from mcp_a2a.protocol.model import Artifact, Part, TaskStatus
from mcp_a2a.protocol.payload import LAST_SEQ, MAX_ASKED, AskBody, Asked
from mcp_a2a.protocol.task.events import Resent, Spoken
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.store.journal import OutboxRow, drop_letter, put_outbox
from mcp_a2a.store.records import find_task, known_otherwise, open_sent_tasks, save

logger = logging.getLogger(__name__)

MAX_ASKED_AT_ONCE = 2_048
"""Open tasks of one agent that a new link asks after; those that wait longest."""

AGAIN_SECONDS = 20.0
"""One task is asked after at most so often, however often a person or a model looks."""

DIAL_SECONDS = 2.0
NEWS_SECONDS = 0.5
"""Seconds that a look at a task waits for a link to its agent, and then for the agent's updates."""

MAX_REMEMBERED = 10_000


class Inquiry:
    """The asking side."""

    def __init__(self, context: Context, directory: Directory, dialer: Dialer, outbox: Outbox) -> None:
        self._context = context
        self._directory = directory
        self._dialer = dialer
        self._outbox = outbox
        self._asked: dict[str, float] = {}
        """The time of the last question about each task, by the event loop's clock."""

    def link_opened(self, link: Link) -> None:
        """Ask after every open task that this agent has."""
        peer = self._directory.get(link.peer)
        if link.is_relayed and link.address not in peer.attends:
            return  # its mailbox is there; a question that waits in it is answered by a link of its own
        open_tasks = self._context.database.read(
            lambda connection: open_sent_tasks(connection, peer.row.did, MAX_ASKED_AT_ONCE)
        )
        for start in range(0, len(open_tasks), MAX_ASKED):
            self._ask(link, open_tasks[start : start + MAX_ASKED])

    async def question(self, record: Task) -> None:
        """A reader looks at this task: dial its agent at once and ask it; what it says at once is there afterwards.

        What the caller knew of the task is old then.
        """
        if not record.sent or record.done:
            return
        peer = self._directory.get(PeerId.parse_untrusted(record.peer))
        self._outbox.seek(peer.peer_id)
        if peer.link is None:
            news = self._context.task_changes.event(record.id)
            await self._dialer.look_up((peer,), DIAL_SECONDS)
            if peer.links:
                await wait_until(news, NEWS_SECONDS)
        now = anyio.current_time()
        if peer.link is None or now < self._asked.get(record.id, -AGAIN_SECONDS) + AGAIN_SECONDS:
            return  # a new link asks by itself
        if abs(self._context.clock() - record.updated) < AGAIN_SECONDS:
            return  # that is new enough; what is dated ahead was written while the clock was
        if len(self._asked) >= MAX_REMEMBERED:
            self._asked.clear()
        self._asked[record.id] = now
        self._ask(peer.link, ((record.id, record.seq_in),))

    def files_are_gone(self, link: Link, task_id: str) -> None:
        """An update comes again and again whose files never do: ask for both."""
        record = self._context.database.read(lambda connection: find_task(connection, task_id))
        if record is not None and record.sent and not record.done and record.peer == str(link.peer):
            self._ask(link, ((task_id, record.seq_in),), no_files=True)

    def _ask(self, link: Link, tasks: Sequence[tuple[str, int]], *, no_files: bool = False) -> None:
        now = self._context.clock()
        asked = tuple(Asked(task=task, seq=seq, no_files=no_files) for task, seq in tasks)
        payload = ask_payload(self._context, link.peer, AskBody(tasks=asked), now)
        try:
            envelope = seal(
                self._context.identity, payload, link.bundle, self._context.randomness(16), now + ASK_SECONDS
            )
            link.submit(envelope)
        except LinkError as error:
            logger.debug("could not ask %s after %d tasks: %s", link.address, len(asked), error)


class Memory:
    """The answering side: what the asker does not know of its tasks is told again."""

    def __init__(self, context: Context, outbox: Outbox) -> None:
        self._context = context
        self._outbox = outbox
        self._telling: dict[str, str] = {}
        """The letter that tells a task whole, of each that may still be under way; empty until it is journalled."""

    def asked(self, peer: Peer, body: AskBody) -> None:
        """Tell this sender again how its tasks stand, those that we know otherwise than it says."""
        did, database = peer.row.did, self._context.database
        known = {one.task: one.seq for one in body.tasks}
        without_files = {one.task for one in body.tasks if one.no_files}
        under_way, bringing = self._outbox.updating(peer.peer_id), self._outbox.bringing(peer.peer_id)
        for task_id, ours in database.read(lambda connection: known_otherwise(connection, did, known)).items():
            # What is under way is counted too low where our journal went back in time, and lacks the chunks before it
            # where the asker's did. But an asker that says so of one task again and again only fills our outbox.
            is_enough = task_id in under_way and ours.seq >= known[task_id] and not ours.streamed
            if task_id in without_files:  # the letter under way may tell it whole, with its files taken
                is_enough = task_id in bringing or self._telling.get(task_id) == ""
            else:
                is_enough = is_enough or self.is_telling(task_id)
            if not is_enough:
                self._tell(task_id, known[task_id])

    def push(self, letter: OutboxRow) -> None:
        """Send what tells a task again."""
        if len(self._telling) >= MAX_REMEMBERED:
            self._telling = {task: id_ for task, id_ in self._telling.items() if not id_ or self._outbox.holds(id_)}
        self._telling[letter.task] = letter.id
        self._outbox.push(letter)

    def is_telling(self, task_id: str) -> bool:
        """True if a task is being told whole."""
        letter = self._telling.get(task_id)
        if letter and not self._outbox.holds(letter):
            del self._telling[task_id]
            return False
        return letter is not None

    def _tell(self, task_id: str, seq: int) -> None:
        now, before = self._context.clock(), self._telling.get(task_id)
        self._telling[task_id] = ""

        def told(letter: OutboxRow | Exception | None) -> None:
            self._telling.pop(task_id, None)
            if isinstance(letter, OutboxRow):
                self._outbox.drop([before] if before else ())
                self.push(letter)
            elif letter is not None:
                logger.warning("%s cannot be told again how it stands: %s", task_id, letter)

        def tell(connection: sqlite3.Connection) -> OutboxRow | None:
            letter = self.tell_again(connection, task_id, now, seq)
            if letter is not None and before:  # or a sender that takes files and no letter would fill our disk
                drop_letter(connection, task_id, before)
            return letter

        self._context.database.enqueue(tell, told)

    def tell_again(self, connection: sqlite3.Connection, task_id: str, now: float, seq: int = -1) -> OutboxRow | None:
        """Journal how a task stands, whole; None where it stands as its sender left it, or does not go into one letter.

        `seq` is the newest update that its sender knows. What follows is counted from there, or its sender would take
        it for old: our journal may have gone back in time.
        """
        task = find_task(connection, task_id)
        if task is None or task.sent or task.counterpart != "sealed" or not (task.seq_out or seq > 0):
            return None
        if task.seq_out < seq < LAST_SEQ:
            logger.warning("the sender of %s knows more of it than this data folder: is that from a backup?", task_id)
        artifacts, status, files = self._still_here(task)
        change = Change.of(task, Resent(seq, artifacts, status), Spoken(), now=now, files=files)
        try:
            letter = update_letter(self._context, change, whole=True)
        except (TooLargeError, UnsendableError) as error:
            logger.warning("%s cannot be told again how it stands: %s", task_id, error)
            return None
        save(connection, change)
        put_outbox(connection, letter)
        return letter

    def _still_here(self, record: Task) -> tuple[tuple[Artifact, ...], TaskStatus, tuple[BlobRef, ...]]:
        """The answer, with those of its files that can be sent once more; of the others only the name is left."""
        refs: dict[str, BlobRef] = {}

        def part_of(part: Part) -> Part:
            ref = BlobRef.of_untrusted(part) if is_blob(part) else None
            if ref is None:
                return part
            if self._context.spool.path("out", "", ref.id).exists():
                refs[ref.id] = ref
                return part
            return Part(text=f"(the file {part.filename or ref.id} is no longer at its agent)")

        artifacts = tuple(
            artifact.model_copy(update={"parts": tuple(map(part_of, artifact.parts))}) for artifact in record.artifacts
        )
        said, status = record.status.message, record.status
        if said is not None:  # an answer may be a message
            status = status.model_copy(
                update={"message": said.model_copy(update={"parts": tuple(map(part_of, said.parts))})}
            )
        return artifacts, status, tuple(refs.values())

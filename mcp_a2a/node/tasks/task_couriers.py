"""The courier of tasks for each kind of agent: sending, cancelling, and the state of delivery."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mcp_a2a.errors.delivery import NoRouteError
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.errors.web import WebError
from mcp_a2a.node.delivery.inquiry import Inquiry
from mcp_a2a.node.delivery.letters import cancel_letter, message_letter, task_letter, url_letter
from mcp_a2a.node.delivery.outbox import Outbox
from mcp_a2a.node.files.attaching import MIB, Attached
from mcp_a2a.node.peers.agents import RemoteAgent
from mcp_a2a.node.peers.dialer import Dialer
from mcp_a2a.node.peers.directory import Directory
from mcp_a2a.node.peers.peer import Peer
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import LAN, WebPeer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.task_views import Way
from mcp_a2a.protocol.blob import MAX_RELAYED_SIZE
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.model import Delivery, Message
from mcp_a2a.protocol.naming import Counterpart
from mcp_a2a.protocol.task.machine import Change
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import shown_url, with_short_urls
from mcp_a2a.store.journal import OutboxRow, drop_outbox_of_task


class TaskCourier(Protocol):
    """Brings tasks to the agents of one kind."""

    @property
    def retargets(self) -> bool:
        """True if a task that was refused goes to the next agent under its id; else the next one gets its own."""

    async def find(self, key: str) -> RemoteAgent:
        """The agent that a task is with.

        Raises:
            CardError, WebError: it made room for others meanwhile, and cannot be met again.
        """

    async def reach(self, agent: RemoteAgent) -> None:
        """Make sure that the agent is there itself, now.

        Raises:
            NoRouteError
            WebError: something is wrong there.
        """

    async def try_out(self, agent: RemoteAgent) -> None:
        """Make sure that a message would get to the agent, or into its mailbox, now.

        Raises:
            NoRouteError: its attempts say why not.
        """

    async def check_files(self, agent: RemoteAgent, attached: Attached) -> None:
        """Check, as far as that can be known, that files of this size get to the agent.

        Raises:
            FileError
        """

    def opening(self, change: Change) -> OutboxRow:
        """The journal's row of the message that opens a task.

        Raises:
            TooLargeError, UnsendableError
        """

    def message(self, change: Change, said: Message) -> OutboxRow:
        """The same of a further message.

        Raises:
            TooLargeError, UnsendableError
        """

    def cancel(self, change: Change) -> OutboxRow:
        """The same of a withdrawal."""

    def withdraw(self, connection: sqlite3.Connection, task_id: str) -> Sequence[str]:
        """Take what is not delivered of a task out of the journal; returns the ids of the messages."""

    async def look(self, task: Task) -> None:
        """Ask the agent about a task, for a moment. What the caller knew of the task is old then."""

    def way(self, task: Task) -> Way:
        """The route of a task to its agent, or the reason why there is none yet."""


TaskCouriers: TypeAlias = Mapping[Counterpart, TaskCourier]
"""The courier of each kind; a program that calls this node has none."""


@dataclass(eq=False)
class SealedTasks:
    """See `TaskCourier`."""

    context: Context
    directory: Directory
    dialer: Dialer
    outbox: Outbox
    inquiry: Inquiry
    retargets: bool = True

    async def find(self, key: str) -> RemoteAgent:
        """See `TaskCourier`."""
        return self._peer(key)

    def _peer(self, key: str) -> Peer:
        return self.directory.get(PeerId.parse_untrusted(key))

    async def reach(self, agent: RemoteAgent) -> None:
        """See `TaskCourier`."""
        peer = self._peer(agent.key)
        link = await self.dialer.connect(peer)
        if link.is_relayed and not peer.online:
            raise NoRouteError(peer.name, [*peer.tried, f"relay {link.address}: it is not connected there"])

    async def try_out(self, agent: RemoteAgent) -> None:
        """See `TaskCourier`."""
        await self.dialer.connect(self._peer(agent.key))

    async def check_files(self, agent: RemoteAgent, attached: Attached) -> None:
        """A file that no relay takes waits for an absent agent, but not for one that only a relay reaches."""
        if not attached.refs or not attached.needs_direct:
            return
        try:
            link = await self.dialer.connect(self._peer(agent.key))
        except NoRouteError:
            return
        if link.is_relayed:
            raise FileError(
                f"Only a relay reaches {agent.name}, and the largest file is {attached.largest / MIB:.1f} MiB: "
                f"at most {MAX_RELAYED_SIZE // MIB} MiB may go through one.",
                "Send it when you are on one network with that agent, or split it.",
            )

    def opening(self, change: Change) -> OutboxRow:
        """See `TaskCourier`."""
        return task_letter(self.context, change)

    def message(self, change: Change, said: Message) -> OutboxRow:
        """See `TaskCourier`."""
        return message_letter(self.context, change, said)

    def cancel(self, change: Change) -> OutboxRow:
        """Sent in any case: the task may have arrived although its receipt has not."""
        return cancel_letter(self.context, change)

    def withdraw(self, connection: sqlite3.Connection, task_id: str) -> Sequence[str]:
        """See `TaskCourier`."""
        return drop_outbox_of_task(connection, task_id, "task", "message", "blob")

    async def look(self, task: Task) -> None:
        """See `TaskCourier`."""
        await self.inquiry.question(task)

    def way(self, task: Task) -> Way:
        """The obstacle of a task that is not delivered; or the reason why it goes through a relay."""
        peer_id = PeerId.parse_untrusted(task.peer)
        peer = self.directory.known(peer_id)
        link = peer.link if peer is not None else None
        waits, tried = task.delivery == Delivery.QUEUED, tuple[str, ...]()
        if task.sent and waits:
            tried = self.outbox.tried(peer_id)
        elif task.sent and peer is not None and link is not None and link.is_relayed:
            tried = peer.tried
        return Way(link.route if link is not None else None, tried, self.outbox.refusal(task.id) if waits else None)


@dataclass(eq=False)
class HttpTasks:
    """See `TaskCourier`."""

    context: Context
    book: WebBook
    outbox: Outbox
    retargets: bool = False

    async def find(self, key: str) -> RemoteAgent:
        """See `TaskCourier`."""
        return await self.book.find(key)

    async def reach(self, agent: RemoteAgent) -> None:
        """Read its card anew."""
        try:
            await self.book.refresh(self._peer(agent.key), anew=True)
        except WebError as error:
            if error.retryable:
                reason = error.message.rstrip(".").replace(" could not be reached: ", ": ")
                raise NoRouteError(agent.name, [reason]) from error
            raise

    def _peer(self, url: str) -> WebPeer:
        peer = self.book.known(url)
        if peer is None:  # not met anew: a person may have removed it
            raise WebError(f"{shown_url(url)} was removed meanwhile.", "Nothing was sent.")
        return peer

    async def try_out(self, agent: RemoteAgent) -> None:
        """See `TaskCourier`."""
        try:
            await self.reach(agent)
        except (NoRouteError, WebError) as error:
            raise NoRouteError(agent.name, [with_short_urls(error.message)]) from error

    async def check_files(self, agent: RemoteAgent, attached: Attached) -> None:
        """Check nothing: a file that is too large is found when it is sent."""

    def opening(self, change: Change) -> OutboxRow:
        """See `TaskCourier`."""
        peer = self.book.known(change.task.peer)
        if peer is not None and peer.row.origin == LAN:
            self.book.keep(peer)  # who a task is with is to be known after a restart
        return url_letter(self.context, change, "message", change.task.messages[0].message_id)

    def message(self, change: Change, said: Message) -> OutboxRow:
        """See `TaskCourier`."""
        return url_letter(self.context, change, "message", said.message_id)

    def cancel(self, change: Change) -> OutboxRow:
        """See `TaskCourier`."""
        return url_letter(self.context, change, "cancel")

    def withdraw(self, connection: sqlite3.Connection, task_id: str) -> Sequence[str]:
        """See `TaskCourier`."""
        return drop_outbox_of_task(connection, task_id, "message", "cancel")

    async def look(self, task: Task) -> None:
        """See `TaskCourier`."""
        await self.outbox.http.glance(task)

    def way(self, task: Task) -> Way:
        """See `TaskCourier`."""
        return Way("http", self.outbox.tried_at_url(task.id))

"""Tasks for agents at URLs: journalled like any other before anything leaves (see `sending` for those with a key)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import anyio

from mcp_a2a.api.files import Attachments
from mcp_a2a.api.tasks import ReplyRequest, SendTaskBySkillRequest, SendTaskRequest
from mcp_a2a.api.view import Consent
from mcp_a2a.errors.delivery import NoRouteError, QueueFullError
from mcp_a2a.errors.tasks import NotAwaitingReplyError, NotSentError
from mcp_a2a.errors.web import WebError
from mcp_a2a.node.delivery.web_courier import WebCourier
from mcp_a2a.node.files.attaching import Attached, Attaching
from mcp_a2a.node.peers.consent import ConsentBook
from mcp_a2a.node.peers.web_book import WebBook
from mcp_a2a.node.peers.web_peer import LAN, WebPeer
from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.tasks.repeated import check_message, check_opening
from mcp_a2a.node.tasks.sending import MAX_OUTBOX, Draft, Sending, draft_of, opening, with_files
from mcp_a2a.protocol.extensions import check_extensions
from mcp_a2a.protocol.model import Delivery, Message
from mcp_a2a.protocol.task.artifacts import size_of
from mcp_a2a.protocol.task.events import Replied, Spoken
from mcp_a2a.protocol.task.ids import task_id_of
from mcp_a2a.protocol.task.machine import Change, withdrawal
from mcp_a2a.protocol.task.table import can
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import shown_url, with_short_urls
from mcp_a2a.store.records import find_task, get_task, save
from mcp_a2a.store.web import count_web_letters, drop_web_letters, put_web_letter


class WebSending:
    """Opens, continues and withdraws tasks at agents at URLs."""

    def __init__(
        self,
        context: Context,
        book: WebBook,
        courier: WebCourier,
        attaching: Attaching,
        sending: Sending,
        consent: ConsentBook,
    ) -> None:
        self._consent = consent
        self._context, self._book, self._courier = context, book, courier
        self._attaching = attaching
        self._sending = sending

    # --- opening ---------------------------------------------------------------------------------

    async def send(self, peer: WebPeer, request: SendTaskRequest) -> Task:
        """Send a task to an agent at a URL; see `Sending.send`.

        Raises:
            NoRouteError: with `queue` False, the agent cannot be reached; nothing was kept.
            WebError: with `queue` False, the agent answers wrongly; nothing was kept.
            KeyReusedError: the key names a task that was another request.
            QueueFullError, FileError, StorageFullError
        """
        opening = self._sending.opening_id(request.idempotency_key, peer.url)
        draft = draft_of(request, opening)
        existing = self._sending.find(task_id_of(self._context.me, opening))
        if existing is not None:
            check_opening(existing, draft.message, draft.skill, request.files)
            return existing
        check_extensions(peer.name, peer.row.card)
        await self._consent.check(peer, request)
        if not request.queue:
            await self._reach(peer)
        attached = await self._attaching.attach(draft.message.parts, request)
        return await self._open(peer, draft, attached, lambda _: None)

    async def send_message(self, peer: WebPeer, draft: Draft, follow: Callable[[Task], None], consent: Consent) -> Task:
        """See `Sending.send_message`."""
        existing = self._sending.find(task_id_of(self._context.me, draft.opening))
        if existing is not None:
            check_opening(existing, draft.message, draft.skill)
        else:
            check_extensions(peer.name, peer.row.card, draft.message.extensions or ())
            await self._consent.check(peer, Attachments(consent=consent), draft.message.parts)
        return await self._open(peer, draft, await self._attaching.attach(draft.message.parts), follow)

    async def _reach(self, peer: WebPeer) -> None:
        try:
            await self._book.refresh(peer, anew=True)
        except WebError as error:
            if error.retryable:
                reason = error.message.rstrip(".").replace(" could not be reached: ", ": ")
                raise NoRouteError(peer.name, [reason]) from error
            raise

    async def _open(self, peer: WebPeer, draft: Draft, attached: Attached, follow: Callable[[Task], None]) -> Task:
        change = opening(self._context, peer.url, peer.name, with_files(draft, attached))
        with self._attaching.given_to(change.task.id, attached.refs):
            follow(change.task)
            return await self._journal(peer, change)

    async def _journal(self, peer: WebPeer, change: Change) -> Task:
        if peer.row.origin == LAN:
            await self._book.keep(peer)  # who a task is with is to be known after a restart
        task, stamp = change.task, self._context.clocks.stamp()

        def journal(connection: sqlite3.Connection) -> Task | None:
            if not save(connection, change):
                return find_task(connection, task.id)
            if count_web_letters(connection) >= MAX_OUTBOX:
                raise QueueFullError("outbox", MAX_OUTBOX)
            put_web_letter(connection, task.id, "message", task.messages[0].message_id, stamp)
            return None

        existing = await self._context.database.write(journal)
        if existing is not None:
            check_message(existing, task.messages[0], task.skill)
            return existing
        self._courier.kick(task.id)
        return task

    # --- by skill --------------------------------------------------------------------------------

    async def send_by_skill(self, peers: Sequence[WebPeer], request: SendTaskBySkillRequest) -> Task:
        """To the first of them that is there and takes it; kept for the best one where none is.

        Raises:
            NoRouteError: with `queue` False, when none is there.
            KeyReusedError: the key names a task that was another request.
        """
        refused: list[Task] = []
        for attempt in range(len(peers)):  # what an earlier call with the same key came to
            opening = self._opening(request, attempt)
            record = self._sending.find(task_id_of(self._context.me, opening))
            if record is not None:  # it may have come to be while this call chose an agent
                check_opening(record, draft_of(request, opening).message, request.skill, request.files)
            if record is not None and record.delivery != Delivery.REFUSED:
                return record
            refused += [record] if record is not None else []
        deadline = anyio.current_time() + max(request.wait_seconds, 1.0)
        tried = [f"{record.peer_name}: refused" for record in refused]
        left = [peer for peer in peers if peer.url not in {record.peer for record in refused}]
        for peer in left:
            try:
                check_extensions(peer.name, peer.row.card)
                await self._reach(peer)
            except (NoRouteError, WebError) as error:
                tried.append(with_short_urls(error.message))
                continue
            record = await self._entrust(peer, request, len(refused), tried)
            record = self._sending.latest(record.id)
            record = await self._sending.waiting.wait(record, "taken", deadline - anyio.current_time())
            if record.delivery != Delivery.REFUSED:
                return record
            refused.append(record)
            tried.append(f"{peer.name}: refused")
        if refused:
            return refused[-1]
        if not request.queue:
            raise NoRouteError(f"No agent with the skill {request.skill!r}", tried)
        check_extensions(peers[0].name, peers[0].row.card)
        return await self._entrust(peers[0], request, 0, tried)

    def _opening(self, request: SendTaskBySkillRequest, attempt: int) -> str:
        """An agent that refused has ended the task, so the next one gets one of its own."""
        scope = f"skill\0{request.skill}" + (f"\0{attempt}" if attempt else "")
        return self._sending.opening_id(request.idempotency_key, scope)

    async def _entrust(
        self, peer: WebPeer, request: SendTaskBySkillRequest, attempt: int, tried: Sequence[str]
    ) -> Task:
        draft = draft_of(request, self._opening(request, attempt))
        attached = await self._attaching.attach(draft.message.parts, request)
        chosen = f"{peer.name}: it offers this skill at {shown_url(peer.url)}"
        change = opening(self._context, peer.url, peer.name, with_files(draft, attached), chosen, tuple(tried))
        with self._attaching.given_to(change.task.id, attached.refs):
            return await self._journal(peer, change)

    # --- going on --------------------------------------------------------------------------------

    async def reply(self, task_id: str, request: ReplyRequest) -> Task:
        """See `Sending.reply`."""
        message, before = self._sending.turn(task_id, request)
        return before or await self.go_on(task_id, message, request)

    async def go_on(self, task_id: str, message: Message, with_it: Attachments | None = None) -> Task:
        """See `Sending.go_on`.

        Raises:
            CardError, WebError: its agent made room for others meanwhile, and cannot be met again.
        """
        more = with_it or Attachments()
        record = self._sending.find(task_id)
        if record is not None and not record.done and not record.has_heard(message):
            await self._consent.check(await self._book.find(record.peer), more, message.parts)
        attached = await self._attaching.attach(message.parts, more)
        with self._attaching.given_to(task_id, attached.refs):
            return await self._go_on(task_id, message.model_copy(update={"parts": attached.parts}), attached)

    async def _go_on(self, task_id: str, message: Message, attached: Attached) -> Task:
        now, stamp = self._context.clock(), self._context.clocks.stamp()

        def go_on(connection: sqlite3.Connection) -> tuple[Task, bool]:
            task = get_task(connection, task_id)
            if task.has_heard(message):
                return task, False
            if not task.sent or not can(task.state, Replied):
                raise NotAwaitingReplyError(task.id, task.state)
            # Its agent must be able to tell it from the others, and so must we.
            is_used = any(known.message_id == message.message_id for known in task.messages)
            message_id = self._context.fresh_id() if is_used else message.message_id
            said = message.model_copy(
                update={"message_id": message_id, "context_id": task.context_id, "task_id": task.id}
            )
            replied = Replied(said, made=size_of(task.artifacts))
            change = Change.of(task, replied, Spoken(), now=now, files=attached.refs)
            save(connection, change)
            put_web_letter(connection, task.id, "message", message_id, stamp)
            return change.task, True

        record, is_new = await self._context.database.write(go_on)
        if is_new:
            self._context.task_changes.notify(record.id, record)
            self._courier.kick(record.id)
        return record

    async def cancel(self, task_id: str) -> Task:
        """See `Sending.cancel`."""
        now, stamp = self._context.clock(), self._context.clocks.stamp()

        def cancel(connection: sqlite3.Connection) -> Task:
            task = get_task(connection, task_id)
            if not task.sent:
                raise NotSentError(task.id)
            if task.done:
                return task
            drop_web_letters(connection, task.id)
            change = Change.of(task, withdrawal(task), Spoken(), now=now)
            save(connection, change)
            put_web_letter(connection, task.id, "cancel", "", stamp)
            return change.task

        record = await self._context.database.write(cancel)
        self._context.task_changes.notify(record.id, record)
        self._courier.kick(record.id)
        return record

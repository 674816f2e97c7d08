"""Push notifications: what happens to a task is posted to the URLs that its caller named for it (A2A 3.5.3).

One courier per configuration reads the events of its task and posts each in its order. A hook that takes nothing, also
when tried a few times, is tried for a day, with longer pauses, and then gets the task as it is: what it missed is not
posted one by one. So does one whose node was restarted. They can be read for as long as their task.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import anyio

from mcp_a2a.api.a2a import OWN_AGENT, OWNER
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.delivery import QueueFullError
from mcp_a2a.errors.tasks import PushConfigNotFoundError, PushNotSupportedError
from mcp_a2a.errors.web import AddressNotAllowedError, WebError
from mcp_a2a.node.runtime.context import Context, pause_after
from mcp_a2a.node.tasks.document import document
from mcp_a2a.node.tasks.events import Events, Reading
from mcp_a2a.ports import Hooks
from mcp_a2a.protocol.backoff import Backoff
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig
from mcp_a2a.protocol.task.task import Task
from mcp_a2a.protocol.web_url import origin
from mcp_a2a.store.callers import CallerFolder
from mcp_a2a.store.records import find_task
from mcp_a2a.store.web import count_other_untold, drop_push, mark_told, push_configs, put_push, untold_configs
from mcp_a2a.web_ports import HookGoneError, NotNowError

logger = logging.getLogger(__name__)

MAX_EACH = 8
"""Configurations of one task."""

MAX_ALL = 1_000
"""Of all tasks that have not ended."""

MAX_OF_CALLER = 250
"""Of these, of one caller; the owner may have all."""

ATTEMPTS = 6
RETRY = Backoff()
"""The attempts to post an event to a URL that does not take it, and the pauses in between."""

AWAY = Backoff(60.0, 900.0)
"""Pauses after that."""
PATIENCE_SECONDS = 86_400.0
"""A hook that takes nothing for so long is posted nothing more."""

SLICE_SECONDS = 600.0

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


class Pushes:
    """Posts for a node. Without `hooks` there are no push notifications."""

    def __init__(self, context: Context, events: Events, hooks: Hooks | None, callers: CallerFolder) -> None:
        self._context = context
        self._callers = callers
        self._events = events
        self._hooks = hooks
        self._couriers: dict[tuple[str, str], anyio.CancelScope] = {}
        self._turn = anyio.Lock()
        """Of what is kept: two requests at a time would each find that there is room, and no such hook yet."""

    def load(self) -> None:
        """Go on with what an earlier process was asked for."""
        if self._hooks is not None:
            for config in self._context.database.read(untold_configs):
                self._start(config, None)

    # --- configurations --------------------------------------------------------------------------

    def check(self, config: TaskPushNotificationConfig) -> None:
        """Refuse a configuration that would not be kept.

        Raises:
            PushNotSupportedError, AddressNotAllowedError
        """
        if self._hooks is None:
            raise PushNotSupportedError
        self._hooks.check(config.url)

    def check_room(self, config: TaskPushNotificationConfig, task_id: str, caller: str) -> None:
        """Refuse a configuration for which there is no room, before anything is begun; a new task has no id yet.

        Raises:
            QueueFullError
        """
        if self._running(task_id, config) is None:
            kept = config.model_copy(update={"task_id": task_id, "id": config.id or ""})
            self._context.database.read(lambda connection: _check_room(connection, kept, caller))

    async def set(
        self, record: Task, config: TaskPushNotificationConfig, cursor: str | None = None
    ) -> TaskPushNotificationConfig:
        """Keep a configuration, and post from `cursor` on.

        Raises:
            PushNotSupportedError, AddressNotAllowedError, QueueFullError
        """
        self.check(config)
        cursor = cursor or self._events.begin(record).cursor  # now: what happens while this waits is to be posted, too
        async with self._turn:
            if (running := self._running(record.id, config)) is not None:
                return running
            kept = config.model_copy(update={"task_id": record.id, "id": config.id or self._context.fresh_id()})
            self._context.database.read(lambda connection: _check_room(connection, kept, record.caller))
            await self._context.database.write(lambda connection: put_push(connection, kept))
            self._start(kept, cursor)
            return kept

    def _running(self, task_id: str, config: TaskPushNotificationConfig) -> TaskPushNotificationConfig | None:
        """The same configuration, where it is named again: the SDKs name theirs with each message."""
        known = self._context.database.read(lambda connection: push_configs(connection, task_id))
        same = (
            one for one in known if config.model_copy(update={"task_id": task_id, "id": config.id or one.id}) == one
        )
        return next((one for one in same if (task_id, one.id or "") in self._couriers), None)

    def get(self, task_id: str, config_id: str | None) -> tuple[TaskPushNotificationConfig, ...]:
        """One configuration, or all of a task.

        Raises:
            PushNotSupportedError, PushConfigNotFoundError
        """
        if self._hooks is None:
            raise PushNotSupportedError
        configs = self._context.database.read(lambda connection: push_configs(connection, task_id))
        if config_id is None:
            return tuple(configs)
        found = tuple(config for config in configs if config.id == config_id)
        if not found:
            raise PushConfigNotFoundError(config_id)
        return found

    async def delete(self, task_id: str, config_id: str | None) -> None:
        """Forget a configuration; one that is not there is forgotten.

        Raises:
            PushNotSupportedError
        """
        if self._hooks is None:
            raise PushNotSupportedError
        await self._context.database.write(lambda connection: drop_push(connection, task_id, config_id))
        for key, scope in list(self._couriers.items()):
            if key[0] == task_id and config_id in (None, key[1]):
                scope.cancel()

    # --- couriers --------------------------------------------------------------------------------

    def _start(self, config: TaskPushNotificationConfig, cursor: str | None) -> None:
        key = (config.task_id or "", config.id or "")
        running = self._couriers.pop(key, None)
        if running is not None:
            running.cancel()
        scope = self._couriers[key] = anyio.CancelScope()
        self._context.tasks.start_soon(self._carry, config, cursor, key, scope)

    async def _carry(
        self, config: TaskPushNotificationConfig, cursor: str | None, key: tuple[str, str], scope: anyio.CancelScope
    ) -> None:
        with scope:
            try:
                with suppress(HookGoneError):
                    await self._follow(config, cursor)
                await self._context.database.write(lambda connection: mark_told(connection, *key))
            except McpA2AError as error:  # a disk; the next start begins with the task as it is then
                logger.warning("push notifications of %s end for now: %s", key[0], error.message)
        if self._couriers.get(key) is scope:
            del self._couriers[key]

    async def _follow(self, config: TaskPushNotificationConfig, cursor: str | None) -> None:
        """Post what happens until the task has ended."""
        task_id = config.task_id or ""
        away = _Absence()
        while not away.lasts_too_long:
            record = self._context.database.read(lambda connection: find_task(connection, task_id))
            if record is None:
                return
            reading = await self._events.read(task_id, cursor, SLICE_SECONDS, to_end=True)
            cursor = reading.cursor
            try:
                permitted = self._permits(record)
            except McpA2AError as error:
                logger.warning("push notifications of %s wait: %s", task_id, error.message)
                cursor = None
                await away.pause()
                continue
            if not permitted:
                return
            if not await self._post_all(config, reading):
                cursor = None  # it gets the task as it is then
                await away.pause()
                continue
            away = _Absence()
            if reading.over:
                return

    async def _post_all(self, config: TaskPushNotificationConfig, reading: Reading) -> bool:
        """Post what happened; False: the hook takes nothing for now.

        Raises:
            HookGoneError
        """
        for event in self._told_of(config, reading):
            if not await self._post(config, event):
                return False
        return True

    def _told_of(self, config: TaskPushNotificationConfig, reading: Reading) -> Iterator[StreamResponse]:
        """The events that are posted."""
        whole = reading.whole
        if self._hooks is not None and self._hooks.tells_whole_tasks(config) and reading.events:
            task_id = config.task_id or ""
            whole = self._context.database.read(lambda connection: find_task(connection, task_id)) or whole
            reading = replace(reading, events=())
        if whole is not None:
            yield StreamResponse(task=document(whole))
        yield from reading.events

    def _permits(self, record: Task) -> bool:
        """True if the caller of a task still is one, and still has its agent."""
        agent = OWN_AGENT if record.direction == "received" else record.peer
        return record.caller == OWNER or agent in self._callers.agents_of(record.caller)

    async def _post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> bool:
        """Post an event; False: the hook takes nothing for now. What it refuses for good is left."""
        if self._hooks is None:
            return True
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._hooks.post(config, event)
            except HookGoneError as error:
                logger.info("push notifications of %s are wanted no more: %s", *_told(config, error))
                raise
            except WebError as error:
                if error.retryable and attempt < ATTEMPTS:
                    await anyio.sleep(max(pause_after(attempt, RETRY), _asked(error)))
                    continue
                logger.warning("a push notification of %s was not taken: %s", *_told(config, error))
                return not error.retryable
            except McpA2AError as error:
                logger.warning("a push notification of %s was not sent: %s", *_told(config, error))
            return True
        return False


class _Absence:
    """The time since which a hook takes nothing."""

    def __init__(self) -> None:
        self._since, self._rounds = float("inf"), 0

    @property
    def lasts_too_long(self) -> bool:
        return anyio.current_time() - self._since > PATIENCE_SECONDS

    async def pause(self) -> None:
        self._since, self._rounds = min(self._since, anyio.current_time()), self._rounds + 1
        await anyio.sleep(pause_after(self._rounds, AWAY))


def _asked(error: WebError) -> float:
    return error.seconds if isinstance(error, NotNowError) else 0.0


def _check_room(connection: sqlite3.Connection, config: TaskPushNotificationConfig, caller: str) -> None:
    of_task = [one for one in push_configs(connection, config.task_id or "") if one.id != config.id]
    of_all, of_caller = count_other_untold(connection, config, caller)
    limits = [(len(of_task), MAX_EACH), (of_all, MAX_ALL)]
    if caller != OWNER:
        limits.append((of_caller, MAX_OF_CALLER))
    for count, limit in limits:
        if count >= limit:
            raise QueueFullError("list of push notifications", limit)


def _told(config: TaskPushNotificationConfig, error: McpA2AError) -> tuple[str | None, str]:
    """For the log: of a URL, the host only, for many a hook has its secret in the rest.

    Of every URL, since one that a hook moves to may have the same secret.
    """
    return config.task_id, _URL.sub(_host, error.message.replace(config.url, _host_of(config.url)))


def _host(found: re.Match[str]) -> str:
    return _host_of(found[0])


def _host_of(url: str) -> str:
    try:
        return origin(url)[1] or "a URL"
    except AddressNotAllowedError:
        return "a URL"

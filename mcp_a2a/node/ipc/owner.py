"""One node, many processes: the process that locks the identity's folder first owns the node, the others ask it.

Assistants start an MCP server per window, and some start each one twice. All of them serve the same inbox: the owner
runs the node, the others reach it over the control socket, and when the owner exits one of them takes over.

A call that the owner's end interrupts is made again at the next owner. That is safe: sending carries an idempotency
key, a repeated answer counts once, and the other calls only read.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from mcp_a2a.api.a2a import A2ASendRequest
from mcp_a2a.api.request import A, Call, Request
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import NodeSilentError
from mcp_a2a.front.frames import call_age
from mcp_a2a.node.ipc.caller import NO_CALLER, Caller
from mcp_a2a.node.ipc.client import OwnerLostError, OwnerSilentError, connect_control
from mcp_a2a.node.ipc.glance import ask_to_leave
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.folder_lock import lock_folder
from mcp_a2a.store.owner_file import (
    HALTED_SECONDS,
    has_stand_in,
    is_halted,
    is_starting,
    read_owner,
    state_of,
    write_owner,
)
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.system_limits import limit_behind

if TYPE_CHECKING:
    from mcp_a2a.ports import NodeApi

logger = logging.getLogger(__name__)

REACH_SECONDS = 5.0
"""Seconds that a process waits for one that has the folder, and neither answers nor gives it up."""

RETRY_SECONDS = 0.1
"""Seconds between attempts of a process without a node to own or reach one."""

RESTART_SECONDS = 1.0
"""Pause before a node that crashed is started again."""

OpenOwner = Callable[[], AbstractAsyncContextManager["NodeApi"]]
"""Opens the node itself, with its control socket. The caller holds the lock."""


class Lock(Protocol):
    """The lock of the folder, which this process has."""

    def release(self) -> None:
        """Let another process have it."""


class _Direct:
    """Calls to a node of this process. They end with the node, as calls to another process end with it."""

    def __init__(self, api: NodeApi, calls: set[anyio.CancelScope]) -> None:
        self._api = api
        self._calls = calls

    async def call(self, request: Request[A], /) -> A:
        if not request.waits:
            return await self._api.call(request)
        with anyio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                return await self._api.call(request)
            finally:
                self._calls.discard(scope)
        raise OwnerLostError("The node went away.")


class SharedNode:
    """`NodeApi` of an identity, from any number of processes. Starts on `start` or on the first call."""

    def __init__(
        self, folder: Path, open_owner: OpenOwner, caller: Caller = NO_CALLER, *, lock: Lock | None = None
    ) -> None:
        self._caller = caller
        self._folder = folder
        self._lock = lock
        self._open_owner = open_owner
        self._wanted = anyio.Event()
        self._changed = anyio.Event()
        self._call: Call | None = None
        self._calls: set[anyio.CancelScope] = set()
        self._failure: McpA2AError | None = None
        self._came_up = self._opening = False
        self.owner = False
        """True if this process runs the node."""

    def start(self) -> None:
        """Begin to own or reach the node, in the background."""
        self._wanted.set()

    async def ready(self) -> None:
        """Wait until the node can be asked.

        Raises:
            McpA2AError: it cannot run here, and why.
        """
        if self._call is not None:
            return
        self.start()
        look = min(HALTED_SECONDS, REACH_SECONDS)
        # A call that waited for its session has waited for this owner, too.
        give_up_at = anyio.current_time() + max(look, REACH_SECONDS - call_age.get())
        while self._call is None:
            if self._failure is not None:
                raise self._failure
            with anyio.move_on_after(None if self._opening else look) as waiting:
                await self._changed.wait()
            if waiting.cancelled_caught and not self._opening:
                self._check_reachable(give_up_at)

    def _check_reachable(self, give_up_at: float) -> None:
        """Raise where the process that has the folder can be expected no more."""
        if is_halted(read_owner(self._folder)):
            raise self._silent("cannot be reached")
        if anyio.current_time() >= give_up_at and not is_starting(self._folder):
            raise self._silent("cannot be reached")

    async def run(self) -> None:
        """Own or reach the node until cancelled."""
        await self._wanted.wait()
        while True:
            try:
                if not await self._own() and not await self._attach():
                    await anyio.sleep(RETRY_SECONDS)
            except Exception as error:
                reason = _only_reason(error)
                known = reason if isinstance(reason, McpA2AError) else None
                if known is None and not self._came_up:
                    known = _of_this_machine(reason)
                if known is None:
                    logger.exception("the node stopped unexpectedly; it is started again")
                self._set(None, failure=known or self._unforeseen(reason))
                await anyio.sleep(RESTART_SECONDS)

    def _unforeseen(self, reason: Exception) -> McpA2AError | None:
        """The error of a crash for callers; None if the node ran before it, as they need only wait a moment."""
        if self._came_up:
            return None
        return McpA2AError(
            f"The node could not be started: {type(reason).__name__}: {reason}.",
            "It is tried again every second; its log has more. Please report this.",
        )

    async def _own(self) -> bool:
        """Run the node here, until cancelled; False when another process does."""
        self._came_up = False
        lock = self._take_lock()
        if lock is None:
            return False
        self._opening = True
        write_owner(self._folder, starts=True)
        try:
            async with self._open_owner() as api:
                write_owner(self._folder)
                try:
                    self.owner = self._came_up = True
                    self._set(_Direct(api, self._calls).call)
                    await anyio.sleep_forever()
                finally:
                    self._stop_owning()
        finally:
            self._opening = False
            lock.release()
        return True

    def _take_lock(self) -> Lock | None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            return lock
        open_folder(self._folder)
        try:
            return lock_folder(self._folder)
        except OSError as error:
            raise refused(self._folder, error) from error

    def _stop_owning(self) -> None:
        """End all calls, because the node is about to end: they are made again at the next owner."""
        self.owner = False
        self._set(None)
        for scope in list(self._calls):
            scope.cancel()

    async def _attach(self) -> bool:
        """Ask the owner until it goes away; False when it cannot be reached (yet), or only stands in for us."""
        if has_stand_in(self._folder):
            ask_to_leave(self._folder)
            return False
        with contextlib.suppress(OSError):
            began = anyio.current_time()
            async with connect_control(socket_path(self._folder)) as client:
                self._set(client.call)
                await client.lost.wait()
                self._set(None)
                return anyio.current_time() - began > RETRY_SECONDS  # else it is not tried again without a pause
        return False

    def _set(self, call: Call | None, failure: McpA2AError | None = None) -> None:
        self._call, self._failure = call, failure
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def call(self, request: Request[A], /) -> A:
        """See `NodeApi`. A question that an owner leaves without an answer is asked of the next one."""
        request = self._caller.prepared(request)
        may_repeat = isinstance(request, A2ASendRequest)
        while True:
            if self._call is None:
                await self.ready()
            call, owner_changes = self._call, self._changed
            if call is None:
                continue
            try:
                return await call(request)
            except OwnerSilentError:
                raise self._silent("does not answer") from None
            except OwnerLostError:
                if may_repeat:
                    request = request.model_copy(update={"again": True})
                if self._call is call:
                    await owner_changes.wait()

    def _silent(self, doing: str) -> NodeSilentError:
        pid = read_owner(self._folder)
        return NodeSilentError(str(self._folder), pid, state_of(pid), doing)


def _of_this_machine(reason: Exception) -> McpA2AError | None:
    """The error if a person can mend it: a limit of the system, or a wrong file of the data folder."""
    if isinstance(reason, OSError) and isinstance(reason.filename, str):
        return refused(Path(reason.filename), reason)
    return limit_behind(reason)


def _only_reason(error: Exception) -> Exception:
    """The only error in the exception groups of task groups, or the group itself."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextlib.asynccontextmanager
async def share(node: SharedNode) -> AsyncIterator[SharedNode]:
    """Keep a shared node going while the context lasts."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.run)
        try:
            yield node
        except Exception as error:  # noqa: BLE001  raised below as it was, without a group around it
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure

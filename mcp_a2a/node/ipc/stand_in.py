"""Delivers for the identities of this data folder whose own process does not run.

One process of the folder stands in for all of them: the one that holds the folder's lock `stand-in`, which a crash
releases. It opens the node of an identity that has something to send, or awaits an answer, under the lock of that
identity; so there is one owner of each, and one host for all. Such a node sends what was committed and receives into
the durable inbox, by the trust of its own identity. It has no control socket, so nothing can be asked of it: no worker,
no server and no person reaches it.

A process that connects to the socket of such an identity wants to own it, and the stand-in leaves at once.
Record: docs/decisions/0039-any-process-delivers.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import SocketStream, TaskGroup
from filelock import FileLock, Timeout

from mcp_a2a.errors import McpA2AError
from mcp_a2a.store.folder_lock import FolderLock, lock_folder
from mcp_a2a.store.keyfile import KEY_FILE
from mcp_a2a.store.owner_file import write_owner
from mcp_a2a.store.short_places import socket_path
from mcp_a2a.store.waiting import Stamp, has_business, stamp_of

logger = logging.getLogger(__name__)

LOCK = "stand-in"
"""The lock, in the data folder, of the process that stands in."""

START_SECONDS = 3.0
"""A process that is over before does not begin: most commands are."""

LEAD_SECONDS = 3.0
"""Seconds between attempts of the other processes to take over from one that stood in."""

LOOK_SECONDS = 1.0
"""Seconds between looks for identities that have messages to send, or have none left."""

QUIET_LOOKS = 3
"""After so many looks without anything left to do its node is closed: the last receipts are on the wire by then."""

LEAVE_SECONDS = 5.0
"""Seconds for which an identity is left alone after its own process came."""

RETRY_SECONDS = 60.0
"""Seconds for which an identity whose node could not run is left alone."""

MAX_AT_ONCE = 32
"""Nodes that one process opens for others: each has a listener, and a session with each relay."""

OpenNode = Callable[[str], AbstractAsyncContextManager[Callable[[], bool]]]
"""Opens the node of an identity; yields whether it has still something to do. The caller holds its lock."""


class StandIn:
    """Runs nodes of other identities of a data folder. `database` is the name of the file in an identity's folder."""

    def __init__(self, home: Path, own: str, database: str, open_node: OpenNode) -> None:
        self._home = home
        self._own = own
        self._database = database
        self._open_node = open_node
        self._standing: set[str] = set()
        self._idle: dict[str, Stamp] = {}
        """The stamps of databases that had nothing to do."""
        self._not_before: dict[str, float] = {}

    async def run(self) -> None:
        """Stand in whenever no other process does, until cancelled."""
        await anyio.sleep(START_SECONDS)
        while True:
            with self._lead() as leads:
                if leads:
                    await self._look_after_all()
            await anyio.sleep(LEAD_SECONDS)

    @contextlib.contextmanager
    def _lead(self) -> Iterator[bool]:
        lock = FileLock(self._home / LOCK, thread_local=False, mode=0o600)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    async def _look_after_all(self) -> None:
        told = ""
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    for folder in sorted((self._home / "identities").iterdir()):
                        await self._look_after(folder, tasks)
                    told = ""
                except OSError as error:
                    if str(error) != told:  # once, not with each look
                        logger.warning("the identities of this data folder cannot be looked at: %s", error)
                    told = str(error)
                await anyio.sleep(LOOK_SECONDS)

    async def _look_after(self, folder: Path, tasks: TaskGroup) -> None:
        name, database = folder.name, folder / self._database
        if name == self._own or name in self._standing or len(self._standing) >= MAX_AT_ONCE:
            return
        if self._not_before.get(name, 0.0) > anyio.current_time() or not _is_ours(folder, database):
            return
        if self._idle.get(name) == stamp_of(database):
            return
        lock = None
        with contextlib.suppress(OSError):
            lock = lock_folder(folder)
        if lock is None:
            return  # it runs
        try:
            wanted = await self._has_business(name, database)
        except BaseException:
            lock.release()
            raise
        if not wanted:
            lock.release()
            return
        self._standing.add(name)
        tasks.start_soon(self._stand, folder, lock)

    async def _has_business(self, name: str, database: Path) -> bool:
        try:
            wanted = await anyio.to_thread.run_sync(has_business, database)
        except sqlite3.Error as error:
            logger.warning("the database of %s cannot be read, and is left to its own process: %s", name, error)
            wanted = False
        if not wanted:
            self._idle[name] = stamp_of(database)
        return wanted

    async def _stand(self, folder: Path, lock: FolderLock) -> None:
        name, pause = folder.name, LEAVE_SECONDS
        try:
            write_owner(folder, stands_in=True)
            async with _called(socket_path(folder)):
                async with self._open_node(name) as has_business:
                    logger.info("this process delivers for %s, whose own does not run", name)
                    await _until_done(has_business)
                pause = 0.0
        except Exception as error:
            known = isinstance(error, McpA2AError)
            logger.warning("nothing is delivered for %s: %s", name, error, exc_info=None if known else error)
            pause = RETRY_SECONDS
        finally:
            self._not_before[name] = anyio.current_time() + pause
            lock.release()
            self._standing.discard(name)


async def _until_done(has_business: Callable[[], bool]) -> None:
    quiet = 0
    while quiet < QUIET_LOOKS:
        await anyio.sleep(LOOK_SECONDS)
        quiet = 0 if has_business() else quiet + 1


@contextlib.asynccontextmanager
async def _called(path: Path) -> AsyncIterator[None]:
    """A context that ends as soon as another process connects to this socket."""
    with anyio.CancelScope() as standing:

        async def leave(stream: SocketStream) -> None:
            await stream.aclose()
            standing.cancel()

        path.unlink(missing_ok=True)  # noqa: ASYNC240  one system call, no wait
        async with await anyio.create_unix_listener(path, mode=0o600) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, leave)
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # what is there now is no socket of ours
                    path.unlink()  # noqa: ASYNC240  as above
                tasks.cancel_scope.cancel()


def _is_ours(folder: Path, database: Path) -> bool:
    """True if it is an identity of this folder and user, and has been used. A link leads to that of another home."""
    try:
        places = [path.lstat() for path in (folder, database, folder / KEY_FILE)]
    except OSError:
        return False
    kinds = [stat.S_IFMT(found.st_mode) for found in places]
    return kinds == [stat.S_IFDIR, stat.S_IFREG, stat.S_IFREG] and all(found.st_uid == os.getuid() for found in places)

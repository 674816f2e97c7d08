"""Changes in folders, told by the kernel (inotify(7), Linux).

An event is only a reason to look again: its content is not read. Each folder is also looked at every few seconds, since
another machine that shares it causes no event here; and every second where there are no events: on other systems, or
when this user's watches are used up. The event loop waits for the kernel's descriptor; there is no thread.

A user may have few instances of inotify (often 128), so all watches of an event loop share one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import RunVar

if TYPE_CHECKING:
    from inotify_simple import INotify

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
"""Longest wait for a change where the kernel tells of changes."""

POLL_SECONDS = 1.0
"""Longest wait where it tells of none."""

SETTLE_SECONDS = 0.05
"""Pause after an event, so that a burst of changes is one. It is longer than a tick of a file system's clock."""

_CREATE, _DELETE, _MOVE, _SELF, _ONLY_FOLDERS = 0x100, 0x200, 0xC0, 0xC00, 0x01000000
_MASK = _CREATE | _DELETE | _MOVE | _SELF | _ONLY_FOLDERS
"""Files that come or go, also by a rename, and the folder itself (linux/inotify.h)."""

_LOST = 0x2000 | 0x8000
"""IN_UNMOUNT and IN_IGNORED: the kernel has ended the watch."""


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Changes]:
    """The changes in a folder, which need not exist, until the context ends."""
    with _shared() as kernel:
        changes = Changes(folder, kernel)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kernel.hand_out)
            try:
                changes.follow()
                yield changes
            finally:
                changes.stop()
                tasks.cancel_scope.cancel()


class Changes:
    """Files that come to one folder, or go. Made by `watched`."""

    def __init__(self, folder: Path, kernel: _Kernel) -> None:
        self._folder = folder
        self._kernel = kernel
        self._watch: int | None = None
        self._followed: tuple[int, int] | None = None
        self._told = anyio.Event()

    async def wait(self) -> None:
        """Wait until the folder may have changed: after an event, or after `LOOK_SECONDS` or `POLL_SECONDS`."""
        if self.follow():
            return  # what has changed in it before caused no event
        with anyio.move_on_after(self._kernel.next_look(POLL_SECONDS if self._watch is None else LOOK_SECONDS)):
            await self._told.wait()
            await anyio.sleep(SETTLE_SECONDS)
        self._told = anyio.Event()

    def follow(self) -> bool:
        """Watch the folder that has this path now, or the nearest one above it.

        Returns:
            True if it is another than before.
        """
        there, found = self._nearest()
        if self._watch is not None and found == self._followed:
            return False
        self.stop()
        self._watch, self._followed = self._kernel.add(there, self), found
        return self._watch is not None

    def stop(self) -> None:
        """Watch nothing."""
        if self._watch is not None:
            self._kernel.remove(self._watch, self)
            self._watch = None

    def tell(self, *, is_lost: bool) -> None:
        """An event has come; `is_lost` if the kernel has ended the watch with it."""
        if is_lost:
            self._watch = None
        self._told.set()

    def _nearest(self) -> tuple[Path, tuple[int, int] | None]:
        for path in (self._folder, *self._folder.parents):
            with suppress(OSError):
                found = path.stat()
                return path, (found.st_dev, found.st_ino)
        return self._folder, None


class _Kernel:
    """The instance of inotify of one event loop, and who waits for which of its watches."""

    def __init__(self) -> None:
        self.users = 0
        self._inotify = _opened()
        self._watches: dict[int, set[Changes]] = {}
        self._turn = anyio.Lock()
        self._since = anyio.current_time()

    def next_look(self, pause: float) -> float:
        """Seconds until all look that look every `pause` seconds: at the same time, so the process wakes once."""
        return pause - (anyio.current_time() - self._since) % pause

    def add(self, folder: Path, changes: Changes) -> int | None:
        """Watch a folder; None if the kernel does not tell of it."""
        if self._inotify is None:
            return None
        try:
            watch: int = self._inotify.add_watch(folder, _MASK)
        except OSError as error:
            logger.debug("%s is looked at every second, since the system tells of no change: %s", folder, error)
            return None
        self._watches.setdefault(watch, set()).add(changes)
        return watch

    def remove(self, watch: int, changes: Changes) -> None:
        """End a watch, unless others share it."""
        sharing = self._watches[watch]
        sharing.discard(changes)
        if not sharing:
            del self._watches[watch]
            if self._inotify is not None:
                with suppress(OSError):  # the folder went this moment
                    self._inotify.rm_watch(watch)

    async def hand_out(self) -> None:
        """Tell of events. Of all tasks that do it one has its turn, and the next when that ends."""
        if self._inotify is None:
            return
        async with self._turn:
            while True:
                await anyio.wait_readable(self._inotify)
                for event in self._inotify.read(timeout=0):
                    self._tell(event.wd, is_lost=bool(event.mask & _LOST))

    def _tell(self, watch: int, *, is_lost: bool) -> None:
        if watch == -1:  # IN_Q_OVERFLOW: some events are missing
            told = set[Changes]().union(*self._watches.values())
        else:
            told = self._watches.pop(watch, set()) if is_lost else self._watches.get(watch, set())
        for changes in told:
            changes.tell(is_lost=is_lost)

    def close(self) -> None:
        """Give the instance back."""
        if self._inotify is not None:
            self._inotify.close()


_kernel: RunVar[_Kernel | None] = RunVar("_kernel", None)


@contextmanager
def _shared() -> Iterator[_Kernel]:
    """The watch of this event loop, made for the first user and closed with the last."""
    kernel = _kernel.get() or _Kernel()
    _kernel.set(kernel)
    kernel.users += 1
    try:
        yield kernel
    finally:
        kernel.users -= 1
        if not kernel.users:
            _kernel.set(None)
            kernel.close()


def _opened() -> INotify | None:
    try:
        from inotify_simple import INotify  # noqa: PLC0415  a dependency on Linux only

        return INotify(nonblocking=True)
    except (ImportError, OSError) as error:
        logger.info("the system tells of no changes of files, so folders are looked at every second: %s", error)
        return None

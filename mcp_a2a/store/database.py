"""The one writer, and group commit.

Operations are functions over a connection. They queue; one thread runs a whole batch in one transaction and commits
it with one fsync (`synchronous=FULL`), and only then are the callers told. While a commit is on its way to the disk the
next batch gathers, so 64 operations in flight cost a few fsyncs, not 64. Reads go through a second connection on the
caller's thread: in WAL mode they never wait for the writer.

An operation that a caller waits for wakes the writer. A lazy one does not: it stays in the queue, in its order, and the
next batch takes it along, `LAZY_SECONDS` after the last commit. A writer that found none then has to be woken.

Invariants
----------
* A caller is told after the fsync, never before: no receipt leaves ahead of its commit (docs/decisions/0009).
* Operations run in the order in which they were queued, lazy ones too.
* An operation that raises is rolled back alone; a commit that fails fails its whole batch.
* No caller waits for ever: whatever goes wrong in the thread becomes the outcome of each operation of the batch.
* No wake-up is lost. An operation is queued before its signal, and the writer takes the signals before the operations
  (`_gather`); it says that it watches before it looks at the queue (`_wait`).

What was tried
--------------
* A thread borrowed for each commit: the hand-over cost a third of the commit.
* A task that waits for the commit and wakes the caller: two rounds of the event loop. `done` runs in the callback.
* A signal for each lazy operation: waking a thread costs more than a statement.
* Checkpoints where SQLite makes them, inside of a commit: a caller waited for them.
* To ask the folder, in the thread, why SQLite failed: on a lost disk that failed too, and callers waited for ever.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from mcp_a2a.errors.machine import DatabaseDamagedError, HomeUnusableError
from mcp_a2a.store.checked import forget_checked, looks, renew_checked
from mcp_a2a.store.disk import unusable
from mcp_a2a.store.loop_calls import call_soon_from_threads
from mcp_a2a.store.pending_write import Landing, PendingWrite, log_failure

logger = logging.getLogger(__name__)

T = TypeVar("T")

LAZY_SECONDS = 0.05
"""Seconds that a lazy operation may wait for company. Losing it to a crash must be harmless."""

IDLE_SECONDS = 0.5
"""A moment as quiet as that is used for a checkpoint."""

MAX_BATCH = 256
"""Operations in one transaction: beyond that a longer transaction saves nothing more."""


class Database:
    """An open database. Make it with `opening.open_database`."""

    def __init__(
        self, path: Path, writer: sqlite3.Connection | None, reader: sqlite3.Connection, *, noted: bool = False
    ) -> None:
        """Without a writer nothing is written, and what is queued is dropped.

        `noted`: what the file looks like is noted whenever we have written to it (`checked`).
        """
        self.path = path
        self._file = str(path)
        self._looks = looks(self._file) if noted else None
        self._third: sqlite3.Connection | None = None
        """For reading aside; one thread at a time uses it."""
        self._aside = anyio.Lock()
        self._writer = writer if writer is not None else reader
        self._reader = reader
        self._is_still = writer is None
        # A thread of our own rather than one borrowed per commit: handing over costs a third of the commit otherwise.
        self._queued: deque[PendingWrite] = deque()
        self._signals: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Wake the writer after something was queued: True if a caller waits for it, False for a lazy operation."""
        self._is_watching = True
        """True if the writer looks for lazy operations by itself, within `LAZY_SECONDS`."""
        self._call_soon = call_soon_from_threads()
        self._landed: deque[tuple[Sequence[PendingWrite], Sequence[object]]] = deque()
        self._after_commit: list[Callable[[], None]] = []
        self._uncheckpointed = True
        self._checkpoints = "PASSIVE"
        self._closing = self._is_still
        self._trouble = ""
        """Why the last transaction failed, if it did."""
        self._thread = threading.Thread(target=self._work, name="mcp-a2a-writer", daemon=True)
        if not self._is_still:
            self._thread.start()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query against the newest committed state, on this thread.

        Raises:
            HomeUnusableError, StorageFullError: the disk or the database does not allow it.
        """
        try:
            return query(self._reader)
        except sqlite3.Error as error:
            if self._closing and not self._is_still:
                raise HomeUnusableError(str(self.path.parent), "the node is stopping") from error
            raise self._translated(error) from error

    async def read_aside(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that may take long in a thread of its own, so that the event loop goes on.

        Raises:
            HomeUnusableError, StorageFullError: as `read`.
        """
        async with self._aside:
            return await anyio.to_thread.run_sync(self._read_aside, query)

    def _read_aside(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._is_still:
                return query(self._reader)
            if self._third is None:
                self._third = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
                self._third.execute("PRAGMA query_only=ON")
            return query(self._third)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    async def write(
        self,
        operation: Callable[[sqlite3.Connection], T],
        meanwhile: Callable[[], None] = lambda: None,
        then: Callable[[T], None] = lambda _: None,
    ) -> T:
        """Run an operation and return when it is on the disk. Its exception is raised here.

        A caller that is cancelled meanwhile hears of it at its next wait: what must follow a commit follows it.

        Args:
            operation: runs in the writer thread, within the transaction.
            meanwhile: called at once, while the disk works. It may only save time: the operation may yet fail.
            then: called on the event loop with the value as soon as it is on the disk, before the caller goes on.
        """
        landing: Landing[T] = Landing()

        def done(outcome: T | Exception) -> None:
            try:
                if not isinstance(outcome, Exception):
                    then(outcome)
            finally:
                landing.land(outcome)

        self.enqueue(operation, done, awaited=True)
        meanwhile()
        return await landing.landed()

    def enqueue(
        self,
        operation: Callable[[sqlite3.Connection], T],
        done: Callable[[T | Exception], None],
        *,
        awaited: bool = False,
    ) -> None:
        """Queue an operation; `done` is called on the event loop with its value or exception, after the commit.

        `done` runs outside of any task, so it may start tasks and wait for nothing. With `awaited`, a caller waits for
        it: it is called also if the database is closed meanwhile.

        Raises:
            HomeUnusableError: it is awaited, and the database is being closed.
        """
        if awaited and self._closing:
            raise HomeUnusableError(str(self.path.parent), "the node is stopping")
        self._put(PendingWrite(operation, done, awaited))  # type: ignore[arg-type]  # T is erased in the queue

    def enqueue_lazily(
        self, operation: Callable[[sqlite3.Connection], object], done: Callable[[object], None] | None = None
    ) -> None:
        """Queue an operation without a caller that waits: it rides with the next commit, or gets one soon."""
        self._queued.append(PendingWrite(operation, done or log_failure))
        if not self._is_watching:
            self._signals.put(False)  # noqa: FBT003  the element type of the queue

    def _put(self, pending: PendingWrite) -> None:
        self._queued.append(pending)
        self._signals.put(True)  # noqa: FBT003  as above

    def empty_log(self) -> None:
        """At the next quiet moment empty the log: it still holds what was just deleted."""
        self._checkpoints = "TRUNCATE"

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once after every batch, when each operation's `done` has been called."""
        self._after_commit.append(hook)

    async def close(self) -> None:
        """Commit what is queued and end the writer. Of these commits only a `write` that waits is still told."""
        self._closing = True
        self._signals.put(True)  # noqa: FBT003  as above
        await anyio.to_thread.run_sync(self._thread.join)
        told = (told for landed in self._landed for told in zip(*landed, strict=True))
        _call_each(partial(pending.done, outcome) for pending, outcome in told if pending.awaited)
        async with self._aside:
            if self._third is not None:
                self._third.close()
        self._reader.close()
        self._writer.close()
        self._note_looks()

    def _work(self) -> None:
        """The writer thread: a batch, a commit, the news of it; until the database is closed."""
        while self._queued or not self._closing:
            batch = self._gather()
            if batch:
                self._landed.append((batch, self._outcomes(batch)))
                self._call_soon(self._tell)

    def _outcomes(self, batch: Sequence[PendingWrite]) -> Sequence[object]:
        """The outcome of each operation; whatever goes wrong, the callers are told, and the thread goes on."""
        try:
            return self._commit(batch)
        except Exception as error:
            logger.exception("a transaction failed unexpectedly")
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            return [error] * len(batch)

    def _gather(self) -> list[PendingWrite]:
        """Wait for something to do, and take everything that is queued then."""
        self._wait()
        self._is_watching = True
        while not self._signals.empty():
            self._signals.get()  # before the queue is emptied: what is queued later has its own
        batch = [self._queued.popleft() for _ in range(min(len(self._queued), MAX_BATCH))]
        if self._queued:
            self._signals.put(True)  # noqa: FBT003  as above
        return batch

    def _wait(self) -> None:
        """Wait for a signal, or until a lazy operation has waited long enough."""
        watching = True
        while True:
            self._is_watching = watching
            # What was queued while `_is_watching` was still True has sent no signal.
            watching = watching or bool(self._queued)
            try:
                if self._signals.get(timeout=LAZY_SECONDS if watching else self._idle_seconds()):
                    return
                watching = True
            except queue.Empty:
                if watching and self._queued:
                    return
                if not watching:
                    self._checkpoint()
                watching = False

    def _idle_seconds(self) -> float | None:
        """Seconds to wait for work before there is time for a checkpoint; None, for ever, with nothing to write."""
        return IDLE_SECONDS if self._uncheckpointed else None

    def _checkpoint(self) -> None:
        """Move the log into the database while no transaction waits, rather than inside a commit."""
        self._uncheckpointed = False
        try:
            mode, self._checkpoints = self._checkpoints, "PASSIVE"
            self._writer.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.Error as error:
            logger.warning("a checkpoint failed, so the log goes on growing until the next one: %s", error)
        self._note_looks()

    def _note_looks(self) -> None:
        """Note how the file looks, where a checkpoint of ours has changed it."""
        if self._looks and (now := looks(self._file)) != self._looks:
            self._looks = now
            renew_checked(self.path, now)

    def _tell(self) -> None:
        """Call what follows the newest commits. Once the database is closed, `close` tells those that wait."""
        while self._landed and not self._closing:
            told = zip(*self._landed.popleft(), strict=True)
            _call_each([*(partial(pending.done, outcome) for pending, outcome in told), *self._after_commit])

    def _commit(self, batch: Sequence[PendingWrite]) -> list[object]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes: list[object] = []
            for pending in batch:
                outcomes.append(self._attempt(pending, has_company=bool(outcomes)))
            self._writer.execute("COMMIT")
            self._uncheckpointed, self._trouble = True, ""
            self._note_looks()
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            if str(error) != self._trouble:  # a full disk is said once, not with everything that does not fit on it
                self._trouble = str(error)
                logger.error("a transaction of %d operations failed: %s", len(batch), error)  # noqa: TRY400  raised to them
            return [self._translated(error)] * len(batch)
        return outcomes

    def _attempt(self, pending: PendingWrite, *, has_company: bool) -> object:
        if has_company:
            self._writer.execute("SAVEPOINT operation")
        try:
            outcome: object = pending.run(self._writer)
        except sqlite3.Error as error:
            if not self._writer.in_transaction:
                raise  # SQLite gave up the whole transaction (a full disk does that)
            self._undo(has_company=has_company)
            return self._translated(error)
        except Exception as error:  # noqa: BLE001  the caller gets it; the rest of the batch must not suffer
            self._undo(has_company=has_company)
            return error
        if has_company:
            self._writer.execute("RELEASE operation")
        return outcome

    def _undo(self, *, has_company: bool) -> None:
        if has_company:
            self._writer.execute("ROLLBACK TO operation")
            self._writer.execute("RELEASE operation")
        else:
            self._writer.execute("ROLLBACK")
            self._writer.execute("BEGIN IMMEDIATE")

    def _translated(self, error: sqlite3.Error) -> Exception:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._looks = None
            forget_checked(self.path)  # the next start reads everything, and saves what is left
            return DatabaseDamagedError(str(self.path))
        return error if isinstance(error, _OUR_FAULT) else unusable(self.path, error)


def _call_each(calls: Iterable[Callable[[], None]]) -> None:
    """Call what follows commits; when one call fails, the others must still hear."""
    for call in calls:
        try:
            call()
        except Exception:
            logger.exception("what should follow a commit failed")


_OUR_FAULT = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.NotSupportedError)

"""The one writer, and group commit.

Operations are functions over a connection. They queue; one thread runs a whole batch in one transaction and commits
it with one fsync (`synchronous=FULL`), and only then is anybody told. While a commit is on its way to the disk the
next batch gathers, so 64 operations in flight cost a few fsyncs, not 64.

An operation that raises is rolled back alone (each has a savepoint). A commit that fails fails its whole batch.
Reads go through a second connection on the caller's thread: in WAL mode they never wait for the writer.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from mcp_a2a.errors import DatabaseDamagedError, HomeUnusableError, McpA2AError
from mcp_a2a.store.checked import forget_checked, looks, renew_checked
from mcp_a2a.store.disk import unusable

logger = logging.getLogger(__name__)

T = TypeVar("T")

LAZY_SECONDS = 0.05
"""How long an operation that nobody waits for may wait for company. Losing it to a crash must be harmless."""

IDLE_SECONDS = 0.5
"""A moment as quiet as that is used for a checkpoint."""

FEW = 4
"""Operations in a batch that somebody waits for alone; with more, the event loop has better things to do."""

MAX_BATCH = 256
"""Operations in one transaction: beyond that a longer transaction saves nothing more."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An operation and what to do with its outcome, which is a value or an exception."""

    run: Callable[[sqlite3.Connection], object]
    done: Callable[[object], None]
    lazy: bool = False
    awaited: bool = False
    meanwhile: Callable[[object], None] | None = None


class Landing(Generic[T]):
    """An operation on its way to the disk."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._outcome: list[T | Exception] = []

    def land(self, outcome: T | Exception) -> None:
        """The commit is done."""
        self._outcome.append(outcome)
        self._event.set()

    async def landed(self) -> T:
        """Wait for the disk, come what may. The operation's exception is raised here."""
        with anyio.CancelScope(shield=True):
            await self._event.wait()
        outcome = self._outcome[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Database:
    """An open database. Make it with `opening.open_database`."""

    def __init__(
        self, path: Path, writer: sqlite3.Connection | None, reader: sqlite3.Connection, *, noted: bool = False
    ) -> None:
        """Without a writer nothing is written, and what is queued is dropped.

        `noted`: what the file looks like is noted whenever we have written to it (`checked`).
        """
        self.path = path
        self._looks = looks(path) if noted else None
        self._third: sqlite3.Connection | None = None
        """For reading aside; one thread at a time uses it."""
        self._aside = anyio.Lock()
        self._writer = writer if writer is not None else reader
        self._reader = reader
        self._is_still = writer is None
        # A thread of our own rather than one borrowed per commit: handing over costs a third of the commit otherwise.
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._call_soon = _call_soon_from_threads()
        self._landed: deque[tuple[Sequence[_Pending], Sequence[object]]] = deque()
        self._news = anyio.Event()
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
        self, operation: Callable[[sqlite3.Connection], T], meanwhile: Callable[[T], None] | None = None
    ) -> T:
        """Run an operation and return when it is on the disk. Its exception is raised here.

        A caller that is cancelled meanwhile hears of it at its next wait: what must follow a commit follows it.

        `meanwhile` is called with the operation's value while the disk works, outside of any task, and in a crowd not
        at all: what it does may only save time.
        """
        if self._closing:
            raise HomeUnusableError(str(self.path.parent), "the node is stopping")
        landing = Landing[T]()
        self._queue.put(_Pending(operation, landing.land, awaited=True, meanwhile=meanwhile))  # type: ignore[arg-type]  # as below
        return await landing.landed()

    def enqueue(self, operation: Callable[[sqlite3.Connection], T], done: Callable[[T | Exception], None]) -> None:
        """Queue an operation; `done` is called on the event loop with its value or exception, after the commit."""
        self._queue.put(_Pending(operation, done))  # type: ignore[arg-type]  # T is erased in the queue

    def enqueue_lazily(
        self, operation: Callable[[sqlite3.Connection], object], done: Callable[[object], None] | None = None
    ) -> None:
        """Queue an operation that nobody waits for: it rides with the next commit, or gets one soon."""
        self._queue.put(_Pending(operation, done or log_failure, lazy=True))

    def empty_log(self) -> None:
        """At the next quiet moment empty the log: it still holds what was just deleted."""
        self._checkpoints = "TRUNCATE"

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once after every batch, when each operation's `done` has been called."""
        self._after_commit.append(hook)

    async def run(self) -> None:
        """Tell of commits until cancelled. In a task of its own, because what is called may start others."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._landed:
                self._tell(*self._landed.popleft())

    async def close(self) -> None:
        """Commit what is queued and end the writer. Only who waits for one of these commits still hears of it."""
        self._closing = True
        self._queue.put(None)
        await anyio.to_thread.run_sync(self._thread.join)
        for batch, outcomes in self._landed:
            for pending, outcome in zip(batch, outcomes, strict=True):
                if pending.awaited:
                    pending.done(outcome)
        async with self._aside:
            if self._third is not None:
                self._third.close()
        self._reader.close()
        self._writer.close()
        self._note_looks()

    def _work(self) -> None:
        """The writer thread: a batch, a commit, the news of it; until it is told to end."""
        going = True
        while going:
            batch, going = self._gather()
            if batch:
                self._landed.append((batch, self._outcomes(batch)))
                self._call_soon(self._bring_news)

    def _outcomes(self, batch: Sequence[_Pending]) -> Sequence[object]:
        """What became of each; whatever goes wrong, those that wait are told, and the thread goes on."""
        try:
            return self._commit(batch)
        except Exception as error:
            logger.exception("a transaction failed unexpectedly")
            with suppress(sqlite3.Error):
                self._writer.execute("ROLLBACK")
            return [error] * len(batch)

    def _gather(self) -> tuple[list[_Pending], bool]:
        """Everything that is queued now. Where nobody waits for any of it, what comes in the next moment too."""
        batch: list[_Pending] = []
        hurried, closes_at = False, 0.0
        while len(batch) < MAX_BATCH:
            try:
                # A steady trickle must not keep the first of it from the disk: the moment is counted from there.
                moment = max(0.0, closes_at - time.monotonic()) if batch else self._idle_seconds()
                pending = self._queue.get(block=not hurried, timeout=moment)
            except queue.Empty:
                if not batch:
                    self._checkpoint()
                break
            if pending is None:
                return batch, False
            closes_at = closes_at or time.monotonic() + LAZY_SECONDS
            batch.append(pending)
            hurried = hurried or not pending.lazy
        return batch, True

    def _idle_seconds(self) -> float | None:
        """How long to wait for work before there is time for a checkpoint; for ever when there is nothing to write."""
        return IDLE_SECONDS if self._uncheckpointed else None

    def _checkpoint(self) -> None:
        """Move the log into the database while nobody waits, rather than inside somebody's commit."""
        self._uncheckpointed = False
        try:
            mode, self._checkpoints = self._checkpoints, "PASSIVE"
            self._writer.execute(f"PRAGMA wal_checkpoint({mode})")
        except sqlite3.Error as error:
            logger.warning("a checkpoint failed, so the log goes on growing until the next one: %s", error)
        self._note_looks()

    def _note_looks(self) -> None:
        """Note how the file looks, where a checkpoint of ours has changed it."""
        if self._looks and (now := looks(self.path)) != self._looks:
            self._looks = now
            renew_checked(self.path, now)

    def _bring_news(self) -> None:
        self._news.set()

    def _tell(self, batch: Sequence[_Pending], outcomes: Sequence[object]) -> None:
        for pending, outcome in zip(batch, outcomes, strict=True):
            _call_safely(partial(pending.done, outcome))
        for hook in self._after_commit:
            _call_safely(hook)

    def _commit(self, batch: Sequence[_Pending]) -> list[object]:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(pending) for pending in batch]
            self._use_the_time(batch, outcomes)
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

    def _attempt(self, pending: _Pending) -> object:
        self._writer.execute("SAVEPOINT operation")
        try:
            outcome: object = pending.run(self._writer)
        except sqlite3.Error as error:
            if not self._writer.in_transaction:
                raise  # SQLite gave up the whole transaction (a full disk does that)
            self._undo()
            return self._translated(error)
        except Exception as error:  # noqa: BLE001  the caller gets it; the rest of the batch must not suffer
            self._undo()
            return error
        self._writer.execute("RELEASE operation")
        return outcome

    def _use_the_time(self, batch: Sequence[_Pending], outcomes: Sequence[object]) -> None:
        """The commit that follows needs the disk, not the interpreter: let the event loop work beside it."""
        if len(batch) > FEW:
            return
        for pending, outcome in zip(batch, outcomes, strict=True):
            if pending.meanwhile is not None and not isinstance(outcome, Exception):
                self._call_soon(partial(_call_safely, partial(pending.meanwhile, outcome)))

    def _undo(self) -> None:
        self._writer.execute("ROLLBACK TO operation")
        self._writer.execute("RELEASE operation")

    def _translated(self, error: sqlite3.Error) -> Exception:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._looks = None
            forget_checked(self.path)  # the next start reads everything, and saves what is left
            return DatabaseDamagedError(str(self.path))
        return error if isinstance(error, _OUR_FAULT) else unusable(self.path, error)


_OUR_FAULT = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.NotSupportedError)


class _AsyncioLoop(Protocol):
    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...


class _TrioToken(Protocol):
    def run_sync_soon(self, callback: Callable[[], None]) -> None: ...


def _call_soon_from_threads() -> Callable[[Callable[[], None]], None]:
    """How another thread has something called on this event loop, without waiting for it as anyio's way does."""
    loop = cast("_AsyncioLoop | _TrioToken", anyio.lowlevel.current_token().native_token)
    call_soon = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon

    def call(function: Callable[[], None]) -> None:
        try:
            call_soon(function)
        except RuntimeError:
            logger.debug("the event loop ended before it heard of a commit")

    return call


def _call_safely(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        logger.exception("what should follow a commit failed")  # the others of its batch must still hear of it


def log_failure(outcome: object) -> None:
    """Log an operation that nobody waited for where it failed."""
    if isinstance(outcome, McpA2AError):
        logger.warning("not stored: %s", outcome)
    elif isinstance(outcome, Exception):
        logger.error("an operation nobody waited for failed", exc_info=outcome)

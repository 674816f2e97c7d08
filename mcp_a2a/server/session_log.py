"""The log of each session: what is logged while a client of another process is served belongs to that process's log.

Such a session has a level of its own (`logging/setLevel`), as the log of this process has; neither changes the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from typing_extensions import override

from mcp_a2a.logs import FORMAT, CleanFormatter

OURS = "mcp_a2a"


@dataclass(eq=False)
class SessionLog:
    """The destination of a session's records, and their lowest level."""

    level: int
    write: Callable[[str], None]


_session: ContextVar[SessionLog | None] = ContextVar("session_log", default=None)


class _SessionHandler(logging.Handler):
    """Passes each record to the session in which it was made; sees to it that no other log has it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(CleanFormatter(FORMAT))
        self._open: list[SessionLog] = []
        self._own_level = logging.NOTSET
        """The level of the log of this process while sessions are open."""
        self._guarded: list[logging.Handler] = []
        """Handlers that are kept from what belongs to a session."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        session = _session.get()
        if session is not None:
            if record.levelno >= session.level:
                session.write(self.format(record) + "\n")
        elif self._is_only_handler and logging.lastResort is not None and self._is_own(record):
            logging.lastResort.handle(record)

    @property
    def _is_only_handler(self) -> bool:
        return logging.getLogger().handlers == [self]

    def _is_own(self, record: logging.LogRecord) -> bool:
        """True if a record is one for the log of this process."""
        level = self._own_level if record.name.startswith(OURS) else logging.NOTSET
        return _session.get() is None and record.levelno >= level

    def set_own_level(self, level: int) -> None:
        """Set the level of the log of this process."""
        self._own_level = level
        self._apply()

    def enter(self, session: SessionLog) -> None:
        """Take up a session."""
        if not self._open:
            self._own_level = logging.getLogger(OURS).getEffectiveLevel()
            self._guarded = list(logging.getLogger().handlers)
            for handler in self._guarded:
                handler.addFilter(self._is_own)
            logging.getLogger().addHandler(self)
        self._open.append(session)
        self._apply()

    def leave(self, session: SessionLog) -> None:
        """Give it up; with the last one the log is that of the process alone again."""
        self._open.remove(session)
        if not self._open:
            logging.getLogger().removeHandler(self)
            for handler in self._guarded:
                handler.removeFilter(self._is_own)
            self._guarded = []
        self._apply()

    def _apply(self) -> None:
        levels = (session.level for session in self._open)
        logging.getLogger(OURS).setLevel(min(self._own_level, *levels, logging.CRITICAL))

    def changed(self) -> None:
        """A session has another level."""
        self._apply()


_handler = _SessionHandler()


@contextmanager
def session_log(session: SessionLog) -> Iterator[None]:
    """Within it, what is logged in this context is the session's."""
    token = _session.set(session)
    _handler.enter(session)
    try:
        yield
    finally:
        _handler.leave(session)
        _session.reset(token)


def set_level(level: int) -> None:
    """From which level on the client wants its log, which is that of its session, or that of this process."""
    session = _session.get()
    if session is None:
        _handler.set_own_level(level)
        return
    session.level = level
    _handler.changed()

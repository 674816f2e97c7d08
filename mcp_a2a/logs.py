"""The log on standard error: for a person at a terminal, so nothing that a peer wrote controls it or forges a record.

A record may quote a peer anywhere: most of all in the traceback of a skill, whose error names what it was given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TextIO

from typing_extensions import override

from mcp_a2a.protocol.text import clean

OURS = ("mcp_a2a", "mcp_a2a_transports")

FORMAT = "%(levelname)s %(name)s: %(message)s"


class CleanFormatter(logging.Formatter):
    """Every record cleaned, and each of its lines but the first indented."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return clean(super().format(record)).rstrip("\n").replace("\n", "\n    ")


class StepFormatter(CleanFormatter):
    """Formats the steps of a command, with the milliseconds since it began; warnings as ever."""

    def __init__(self, *, named: bool) -> None:
        super().__init__(FORMAT)
        self._step = CleanFormatter("%(relativeCreated)6d ms  " + ("%(name)s: " if named else "") + "%(message)s")

    @override
    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return super().format(record) if record.levelno >= logging.WARNING else self._step.format(record)


class ScreenHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error; on a terminal fitted to it, and after `before` has removed a line of progress."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__()
        self._before = before

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._before()
        super().emit(record)

    @override
    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Handler`."""
        text = super().format(record)
        if not self.stream.isatty():
            return text
        from mcp_a2a.screen import Screen  # noqa: PLC0415  a server on a pipe does without

        return Screen(self.stream).fitted(text)


def set_up_logging(level: int, before: Callable[[], None] = lambda: None) -> None:
    """Log to standard error from this level on: standard output carries answers, or the protocol.

    Of libraries only warnings are logged: what happens here is told by our own packages. `before` is called before
    each record is written.
    """
    logging.basicConfig(level=max(level, logging.WARNING), force=True, handlers=[ScreenHandler(before)])
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    formatter = StepFormatter(named=level < logging.INFO) if level < logging.WARNING else CleanFormatter(FORMAT)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter)


def clean_last_resort() -> None:
    """Clean what is logged by a program that has not set up its log, as the scripts of agents have not."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(CleanFormatter())

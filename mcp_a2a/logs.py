"""The log on standard error: for a person at a terminal, so nothing that a peer wrote controls it or forges a record.

A record may quote a peer anywhere: most of all in the traceback of a skill, whose error names what it was given.
"""

from __future__ import annotations

import logging

from typing_extensions import override

from mcp_a2a.protocol.text import clean

FORMAT = "%(levelname)s %(name)s: %(message)s"


class CleanFormatter(logging.Formatter):
    """Every record cleaned, and each of its lines but the first indented."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return clean(super().format(record)).rstrip("\n").replace("\n", "\n    ")


def set_up_logging(level: int) -> None:
    """Log to standard error from this level on: standard output carries answers, or the protocol."""
    logging.basicConfig(level=level, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(CleanFormatter(FORMAT))


def clean_last_resort() -> None:
    """Clean what is logged by a program that has not set up its log, as the scripts of agents have not."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(CleanFormatter())

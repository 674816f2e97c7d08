"""Tells the programs that a skill starts how often the work was passed on, so that agents in a circle come to an end.

A function shares its process, and so its environment, with the other tasks of its agent: the highest count of those
that run is told. Counting too high ends a chain early; counting too low never ends it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_a2a.node.worker.kin import HOP

_running: list[int] = []
_own: list[str | None] = []
"""What the variable was before the first of those that run."""


@contextmanager
def hop_in_environment(hop: int) -> Iterator[None]:
    """What this process starts meanwhile is part of work that was passed on so often."""
    if not _running:
        _own.append(os.environ.get(HOP))
    _running.append(hop)
    _tell()
    try:
        yield
    finally:
        _running.remove(hop)
        _tell()


def _tell() -> None:
    if _running:
        os.environ[HOP] = str(max(_running))
        return
    own = _own.pop()
    if own is None:
        os.environ.pop(HOP, None)
    else:
        os.environ[HOP] = own

"""Standard input and output for one owner, who alone reads and writes them while a context lasts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def claimed() -> Iterator[tuple[int, int]]:
    """Private copies of descriptors 0 and 1, which do not block.

    Meanwhile descriptor 0 reads nothing, and what any code prints to 1 goes to 2.
    """
    source, sink = os.dup(0), os.dup(1)
    blocking = os.get_blocking(source), os.get_blocking(sink)
    _divert()
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    try:
        yield source, sink
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()  # what was printed and not yet written belongs to the diversion
        for private, public, was_blocking in ((source, 0, blocking[0]), (sink, 1, blocking[1])):
            os.set_blocking(private, was_blocking)
            os.dup2(private, public)
            os.close(private)


def _divert() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # started without a stderr
        os.dup2(null, 1)
    os.close(null)

"""Which process runs the node of an identity: a note beside its lock, for what others say when it does not answer."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mcp_a2a.errors import STOPPED

NAME = "owner"

STANDS_IN = "stands-in"
STARTS = "starts"

_STATES = {"T": STOPPED, "t": "traced", "D": "waiting for a disk", "Z": "ended", "X": "ended"}
"""Letters of /proc/PID/stat (proc(5)) that explain silence."""


def write_owner(folder: Path, *, stands_in: bool = False, starts: bool = False) -> None:
    """Note that this process owns the folder, or only `stands_in` for the owner. The caller holds its lock.

    With `starts` it still imports what a node needs, which takes seconds on a busy machine.
    """
    words = [str(os.getpid()), *[STANDS_IN] * stands_in, *[STARTS] * starts]
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(" ".join(words) + "\n")


def read_owner(folder: Path) -> int | None:
    """The process that noted itself last, if it lives."""
    try:
        pid = int(_note(folder)[0])
        os.kill(pid, 0)
    except (OSError, ValueError, OverflowError, IndexError):
        return None
    return pid


def has_stand_in(folder: Path) -> bool:
    """Whether the process that noted itself last is not the identity's own."""
    try:
        return STANDS_IN in _note(folder)
    except (OSError, ValueError):
        return False


def is_starting(folder: Path) -> bool:
    """Whether the process that noted itself last lives, and has yet to come to its node."""
    pid = read_owner(folder)
    try:
        return pid is not None and STARTS in _note(folder) and state_of(pid) is None
    except (OSError, ValueError):
        return False


def _note(folder: Path) -> list[str]:
    return (folder / NAME).read_text()[:40].split()


def state_of(pid: int) -> str | None:
    """What a process is doing that explains its silence; None where that is not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return _STATES.get(stat.rpartition(")")[2].split()[0])

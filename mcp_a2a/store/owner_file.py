"""The process that runs the node of an identity, for the words of others when it does not answer.

The system knows which process holds the lock of the folder. Where it does not tell, a note beside the lock does, which
also says what that process is doing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from mcp_a2a.errors.machine import STOPPED

NAME, LOCK = "owner", "lock"

_NO_OTHER = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""A link is no note; nor is a pipe, which would be waited for without end."""

STARTS_SECONDS = 30.0
"""A process that has not come to its node after so long counts as one that does not answer."""

HALTED_SECONDS = 1.0
"""After so long a silence the system is asked whether the owner was stopped: such a one is not waited for."""

STANDS_IN = "stands-in"
STARTS = "starts"

_STATES = {"T": STOPPED, "t": "traced", "D": "waiting for a disk", "Z": "ended", "X": "ended"}
"""Letters of /proc/PID/stat (proc(5)) that explain silence."""

_HALTED = frozenset({STOPPED, "traced", "ended"})
"""States in which a process does nothing until another continues it. One that waits for a disk goes on by itself."""


def write_owner(folder: Path, *, stands_in: bool = False, starts: bool = False) -> None:
    """Note that this process owns the folder, or only `stands_in` for the owner. The caller holds its lock.

    With `starts` it still imports what a node needs, which takes seconds on a busy machine.
    """
    words = [str(os.getpid()), *[STANDS_IN] * stands_in, *[STARTS, str(time.monotonic())] * starts]
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_OTHER, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(" ".join(words) + "\n")


def read_owner(folder: Path) -> int | None:
    """The process that holds the folder, as the system says; where it does not, the one that noted itself last.

    None where that does not live. A note outlives its process, and the system may give its number to another.
    """
    return holder_of(folder / LOCK) or _noted(folder)


def _noted(folder: Path) -> int | None:
    try:
        pid = _pid(_note(folder))
        if pid is not None:
            os.kill(pid, 0)
    except (OSError, OverflowError):
        return None
    return pid


def _pid(words: Sequence[str]) -> int | None:
    return int(words[0]) if words and words[0].isdecimal() else None


def holder_of(lock: Path) -> int | None:
    """The process that holds the flock(2) of a file (proc_locks(5)); None where the system does not tell."""
    try:
        found = lock.stat()
        held = Path("/proc/locks").read_text()
    except OSError:
        return None
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for fields in map(str.split, held.splitlines()):  # number, class, kind, access, process, place, start, end
        if fields[1] == "FLOCK" and fields[5] == place and fields[4].isdigit():
            return int(fields[4]) or None  # 0: of a process that cannot be seen from here
    return None


def has_stand_in(folder: Path) -> bool:
    """True if the process that noted itself last is not the identity's own.

    A process that has the folder and could not note itself (no open file was left) is not taken for the one before.
    """
    try:
        words = _note(folder)
    except OSError:
        return False
    return STANDS_IN in words and holder_of(folder / LOCK) in (None, _pid(words))


def is_starting(folder: Path) -> bool:
    """True if the process that noted itself last holds the folder, and has yet to come to its node."""
    pid = _noted(folder)
    try:
        words = _note(folder)
        since = time.monotonic() - float(words[words.index(STARTS) + 1])  # one clock for all processes since the boot
    except (OSError, ValueError, IndexError):
        return False
    return pid is not None and 0.0 <= since < STARTS_SECONDS and read_owner(folder) == pid and not is_halted(pid)


def is_halted(pid: int | None) -> bool:
    """True if a process can do nothing until another continues it, as the system says."""
    return state_of(pid) in _HALTED


def _note(folder: Path) -> list[str]:
    with os.fdopen(os.open(folder / NAME, os.O_RDONLY | _NO_OTHER), "rb") as file:
        return (file.read(40) or b"").decode("ascii", "replace").split()


def state_of(pid: int | None) -> str | None:
    """The state of a process that explains its silence; None if the state, or the process, is unknown."""
    if pid is None:
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return _STATES.get(stat.rpartition(")")[2].split()[0])

"""Remembers that a database file was found in order, so that a start need not read it as a whole again.

Beside the file lies a note of its size, its time of change and its number. As long as these are the same, nothing but
SQLite's log was written since, and that has checksums of its own. The note is renewed when our writer has moved the
log into the file. Whatever else changes the file (another program, a copy, a power failure) makes the note wrong, and
the next start checks everything. A note that is void says at least that there was a database: one without a byte, or a
missing one, is not taken for new.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

SUFFIX = "-checked"

_LOG_HEADER, _FRAME_HEADER = 32, 24


def looks(path: Path | str) -> str:
    """A text that differs after each change of the file; empty if there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116  a text costs no call of Path, and every commit asks
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def is_checked(path: Path) -> bool:
    """True if the file is as it was when it was noted."""
    try:
        noted = path.with_name(path.name + SUFFIX).read_text(errors="replace")
    except OSError:
        return False
    return bool(noted) and noted == looks(path)


def note_checked(path: Path, now: str) -> None:
    """The file is in order and looks like that. Losing the note costs one check."""
    note = path.with_name(path.name + SUFFIX)
    draft = note.with_name(note.name + ".new")
    with suppress(OSError):
        draft.write_text(now)
        draft.chmod(0o600)
        draft.replace(note)


def renew_checked(path: Path, now: str) -> None:
    """We have written to the file, which was in order. Where the note was made void since, it stays so."""
    with suppress(OSError):
        if path.with_name(path.name + SUFFIX).stat().st_size:
            note_checked(path, now)


def forget_checked(path: Path) -> None:
    """Something in the file could not be read: the next start checks everything. That there was one stays noted."""
    with suppress(OSError):
        os.truncate(path.with_name(path.name + SUFFIX), 0)


def was_emptied(path: Path) -> bool:
    """True if there was a database in this place, and now there is nothing in it, or no file at all."""
    try:
        return path.with_name(path.name + SUFFIX).exists() and not path.stat().st_size
    except FileNotFoundError:
        return True
    except OSError:
        return False


def frames_in_log(path: Path) -> int:
    """The number of frames that the log of this database should have: those that carry the salt of its header.

    Layout: sqlite.org/fileformat2.html, section 4.1.
    """
    try:
        data = path.with_name(path.name + "-wal").read_bytes()
    except OSError:
        return 0
    if len(data) < _LOG_HEADER:
        return 0
    page, salt = struct.unpack(">I", data[8:12])[0], data[16:24]
    frame = _FRAME_HEADER + page
    count = 0
    while data[_LOG_HEADER + count * frame + 8 : _LOG_HEADER + count * frame + 16] == salt:
        count += 1
    return count

"""Relays at addresses of this machine that its user has invited others to.

Such an address means another machine wherever a ticket is read, unless the ticket was made here. So `invite` leaves a
note of each, and `join` calls no other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from mcp_a2a.errors.machine import ConfigurationError
from mcp_a2a.store.short_places import is_private, make_private, short_places

FOLDER = "relays"
MAX_NOTES = 64
"""The newest are kept."""


def note_relay(url: str) -> None:
    """Remember a relay of this machine; where that cannot be, its tickets need a person's word."""
    with contextlib.suppress(OSError, ConfigurationError):
        place = short_places()[0]
        make_private(place)
        folder = place / FOLDER
        make_private(folder)
        (folder / _name(url)).touch(mode=0o600)
        notes = sorted(folder.iterdir(), key=lambda note: note.stat().st_mtime_ns)
        for old in notes[:-MAX_NOTES]:
            old.unlink(missing_ok=True)


def is_noted(url: str) -> bool:
    """True if this user has invited others to this relay, from this machine."""
    folders = [place / FOLDER for place in short_places() if is_private(place)]
    return any(is_private(folder) and _is_mine(folder / _name(url)) for folder in folders)


def _is_mine(note: Path) -> bool:
    try:
        return note.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()

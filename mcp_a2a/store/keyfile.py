"""The identity's key on disk: one file, readable by its owner alone, written once."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from mcp_a2a.errors.machine import KeyFileError, SystemLimitError
from mcp_a2a.protocol.identity import Identity
from mcp_a2a.store.disk import refused
from mcp_a2a.store.folder import read_own, replace_file, sync_folder, written_aside
from mcp_a2a.system_limits import limit_behind

KEY_FILE = "identity.key"
DID_FILE = "did"
"""The public half beside it, so that identities of one data folder know each other without reading keys."""

_SEED_SIZE = 32
_RESTORE = "Restore it from a backup, or choose a new --identity."


def load_identity(folder: Path, new_seed: bytes) -> Identity:
    """The identity of this folder; `new_seed` becomes its key where there is none yet.

    Raises:
        KeyFileError: others can read the key, it is a link, it belongs to another user, it is damaged, or it is gone.
        HomeUnusableError: the folder does not allow it.
    """
    path = folder / KEY_FILE
    try:
        if not path.exists() and not path.is_symlink():
            _check_new(folder)
            _write_once(path, new_seed)
        identity = Identity(_read(path))
        _publish(folder / DID_FILE, str(identity.peer_id))
    except OSError as error:
        raise refused(folder, error) from error
    return identity


def read_identity(folder: Path) -> Identity | None:
    """The identity of this folder as it is; None where it has no key yet.

    Raises:
        KeyFileError, HomeUnusableError: as `load_identity`.
    """
    path = folder / KEY_FILE
    try:
        return Identity(_read(path)) if path.exists() or path.is_symlink() else None
    except OSError as error:
        raise refused(folder, error) from error


class OwnDids:
    """The public keys of all identities of a data folder.

    Asked for every message of a stranger, so the folder is read again only when an identity was added or removed.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "identities"
        self._dids: frozenset[str] = frozenset()
        self._read_at: tuple[int, int] | None = None

    def __call__(self) -> frozenset[str]:
        """The keys as they are now; for want of open files, those that were known before stay."""
        try:
            found_now = self._folder.stat()
        except OSError:
            return frozenset()
        # Two identities that are made within one tick of the file system's clock differ in the number of folders.
        changed_at = (found_now.st_mtime_ns, found_now.st_nlink)
        if changed_at != self._read_at:
            try:
                found = [_published(folder / DID_FILE) for folder in self._folder.iterdir() if folder.is_dir()]
            except (OSError, SystemLimitError):
                return self._dids
            self._dids = frozenset(filter(None, found))
            # An identity that is being made this moment has a folder before it has a key: look again next time.
            self._read_at = changed_at if all(found) else None
        return self._dids


def published_did(folder: Path) -> str | None:
    """The key that the identity of this folder says is its own; None before it has one."""
    return _published(folder / DID_FILE)


def _published(path: Path) -> str | None:
    """The key that an identity says is its own; None where another user may have written it.

    Raises:
        SystemLimitError: it cannot be told now.
    """
    try:
        return read_own(path).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        limit = limit_behind(error)
        if limit is not None:
            raise limit from error
        return None


def _check_new(folder: Path) -> None:
    """Raise where there was a key before: a new one would be another agent to all who know the old one."""
    before = _published(folder / DID_FILE)  # written when the key is there
    if before is not None and not (folder / KEY_FILE).exists():
        raise KeyFileError(
            str(folder / KEY_FILE),
            f"it is gone, and this folder is that of {before}",
            f"Restore it from a backup. To start with a new key, which no agent trusts, remove {folder / DID_FILE}.",
        )


def _write_once(path: Path, seed: bytes) -> None:
    # Written aside and linked into place: a process killed here leaves no half key, two racing ones leave one key.
    with written_aside(path, seed.hex().encode() + b"\n") as aside, suppress(FileExistsError):
        os.link(aside, path)  # where another process was first, its key is the key
    sync_folder(path.parent)


def _read(path: Path) -> bytes:
    if path.is_symlink():
        raise KeyFileError(str(path), "it is a symbolic link", "Put the key file itself there.")
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise KeyFileError(str(path), "it is not a file", _RESTORE)
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise KeyFileError(str(path), "it belongs to another user", "Use a data folder of your own (--home).")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeyFileError(
                str(path),
                f"others can read it (mode {stat.S_IMODE(found.st_mode):04o})",
                f"Run: chmod 600 {path}. If another person may have read it, start over with a new --identity.",
            )
    try:
        with path.open("rb") as file:
            seed = bytes.fromhex(file.read(_SEED_SIZE * 4).decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != _SEED_SIZE:
        raise KeyFileError(str(path), "it does not hold a key", _RESTORE)
    return seed


def _publish(path: Path, did: str) -> None:
    """Say which key is of this identity, where its user alone can: earlier versions let others read it."""
    if _published(path) == did and not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return
    replace_file(path, did.encode() + b"\n")

"""The identities of a data folder, and the truth about which of them run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.ipc.glance import NoGlanceError, ask_to_leave, glance
from mcp_a2a.store.owner_file import LOCK, has_stand_in, holder_of, read_owner, state_of

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_a2a.api.agents import AgentDetail
    from mcp_a2a.api.status import RenameView, StatusView
    from mcp_a2a.config import Settings
    from mcp_a2a.protocol.did import PeerId

SILENCE_SECONDS = 0.5
"""A node that is not heard in twice that time starts, ends or hangs: it runs, and nothing more is known of it."""


@dataclass(frozen=True)
class Identity:
    """One identity. `status` is what its node says, if one runs and answers."""

    identity: str
    did: str
    words: str
    name: str
    running: bool
    status: StatusView | None
    pid: int | None = None
    """The process that runs it, as far as that is known."""
    doing: str | None = None
    """What that process does, where it explains that it does not answer."""


def told_of(status: StatusView) -> Identity:
    """An identity as its node tells it."""
    who = (status.identity, status.did, status.words, status.name)
    return Identity(*who, running=True, status=status, pid=status.pid)


def own_identity(settings: Settings) -> Identity:
    """The identity of these settings, made if there is none.

    Raises:
        ConfigurationError: its folder or key cannot be used.
    """
    import os

    from mcp_a2a.store.folder import open_folder
    from mcp_a2a.store.keyfile import load_identity

    open_folder(settings.home)
    open_folder(settings.folder)
    peer = load_identity(settings.folder, os.urandom(32)).peer_id
    status = _ask(settings.folder)
    return told_of(status) if status is not None else _look(settings.folder, peer, settings.called)


def all_identities(home: Path) -> list[Identity]:
    """Every identity of the data folder, by name."""
    found = (_identity_in(folder) for folder in sorted((home / "identities").glob("*")))
    return [identity for identity in found if identity is not None]


def _identity_in(folder: Path) -> Identity | None:
    status = _ask(folder)
    if status is not None:
        return told_of(status)
    from mcp_a2a.protocol.did import PeerId
    from mcp_a2a.store.keyfile import DID_FILE
    from mcp_a2a.store.own_name import read_name

    try:
        peer = PeerId.parse_untrusted((folder / DID_FILE).read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, McpA2AError):
        return None  # being created this moment, or not readable to us
    return _look(folder, peer, read_name(folder))


def _look(folder: Path, peer: PeerId, name: str | None) -> Identity:
    from mcp_a2a.protocol.names import fingerprint_words, memorable_name

    running = is_locked(folder) and not has_stand_in(folder)
    pid = read_owner(folder) if running else None
    words, name = fingerprint_words(peer), name or memorable_name(peer)
    return Identity(folder.name, str(peer), words, name, running, None, pid, state_of(pid))


def is_locked(folder: Path) -> bool:
    """True if a process runs this identity's node: it holds the lock, which no crash leaves behind."""
    from filelock import FileLock, Timeout

    path = folder / LOCK
    if not path.exists():
        return False
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:  # nothing can be written there, as on a backup that is mounted read-only
        return holder_of(path) is not None
    lock.release()
    return False


def _ask(folder: Path) -> StatusView | None:
    try:
        with glance(folder, "written", silence=SILENCE_SECONDS) as looking:
            return cast("AgentDetail", looking.ask("get_agent", {"agent": "self"})).node
    except (NoGlanceError, McpA2AError):
        return None  # starting, or ending


def told_of_name(folder: Path) -> RenameView | None:
    """Tell the process that runs this identity that another name is kept; None where none runs, or it is silent."""
    if has_stand_in(folder):
        ask_to_leave(folder)  # it comes back with that name, if it is needed
        return None
    try:
        with glance(folder, "written", silence=SILENCE_SECONDS) as looking:
            return cast("RenameView", looking.ask("rename", {}))
    except (NoGlanceError, McpA2AError):
        return None

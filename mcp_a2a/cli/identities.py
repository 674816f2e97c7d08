"""The identities of a data folder, and the truth about which of them run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anyio
from filelock import FileLock, Timeout

from mcp_a2a.config import Settings
from mcp_a2a.errors import McpA2AError
from mcp_a2a.node.control import connect_control, socket_path
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.names import fingerprint_words, memorable_name
from mcp_a2a.store.folder import open_folder
from mcp_a2a.store.keyfile import DID_FILE, load_identity
from mcp_a2a.views import AgentDetail, GetAgentRequest, StatusView

LOCK_FILE = "lock"
ASK_SECONDS = 1.0


@dataclass(frozen=True)
class Identity:
    """One identity. `status` is what its node says, if one runs and answers."""

    identity: str
    did: str
    words: str
    name: str
    running: bool
    status: StatusView | None


async def own_identity(settings: Settings) -> Identity:
    """The identity of these settings, made if there is none.

    Raises:
        ConfigurationError: its folder or key cannot be used.
    """
    open_folder(settings.home)
    open_folder(settings.folder)
    peer = load_identity(settings.folder, os.urandom(32)).peer_id
    return await _look(settings.folder, peer, settings.name)


async def all_identities(home: Path) -> list[Identity]:
    """Every identity of the data folder, by name."""
    found = []
    for path in sorted((home / "identities").glob(f"*/{DID_FILE}")):
        try:
            peer = PeerId.parse_untrusted(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError, McpA2AError):
            continue  # being created this moment, or not readable to us
        found.append(await _look(path.parent, peer, None))
    return found


async def _look(folder: Path, peer: PeerId, name: str | None) -> Identity:
    running = is_locked(folder)
    status = await _ask(folder) if running else None
    name = status.name if status else name or memorable_name(peer)
    return Identity(folder.name, str(peer), fingerprint_words(peer), name, running, status)


def is_locked(folder: Path) -> bool:
    """Whether a process runs this identity's node: it holds the lock, which no crash leaves behind."""
    path = folder / LOCK_FILE
    if not path.exists():
        return False
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


async def _ask(folder: Path) -> StatusView | None:
    with anyio.move_on_after(ASK_SECONDS):
        try:
            async with connect_control(socket_path(folder)) as client:
                view = await client.call("get_agent", GetAgentRequest(agent="self"))
        except (OSError, McpA2AError, BaseExceptionGroup):
            return None  # starting, or ending
        return view.node if isinstance(view, AgentDetail) else None
    return None

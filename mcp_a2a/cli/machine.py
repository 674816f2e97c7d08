"""Commands about this machine: who we are here, and what runs."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from mcp_a2a.cli import render
from mcp_a2a.cli.columns import Cell, Column, Table
from mcp_a2a.cli.session import Session, session_of
from mcp_a2a.cli.steps import Steps
from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.machine import NodeSilentError
from mcp_a2a.node.ipc.glance import NoGlanceError, ask_to_leave, glance
from mcp_a2a.screen import GLUE
from mcp_a2a.store.owner_file import LOCK, has_stand_in, holder_of, read_owner, state_of
from mcp_a2a.version import __version__

if TYPE_CHECKING:
    from pydantic import JsonValue

    from mcp_a2a.api.agents import AgentDetail, DiscoverView
    from mcp_a2a.api.status import RenameView, StatusView
    from mcp_a2a.config import Settings
    from mcp_a2a.protocol.did import PeerId

IDENTITIES = (
    Column("IDENTITY", least=10),
    Column("NAME", least=10),
    Column("RUNNING", least=8),
    Column("KEY", leaves=1),
)
MAX_LISTED = 200
"""Agents that `discover` lists at most."""

PACKAGES = ("mcp", "aiohttp", "anyio", "cryptography", "pydantic", "pynacl", "uvloop", "zeroconf")


def show_id(context: typer.Context) -> None:
    """Show who you are: name, key, and the words to compare."""
    session = session_of(context)
    identity, home = _own(session)

    def tell() -> None:
        session.output.line(f"{identity.name}\n{identity.did}\n{identity.words}")
        session.output.note(f"identity {identity.identity!r} in {home / 'identities' / identity.identity}")

    session.output.show_fields({**_fields(identity), "home": str(home)}, tell)


def _own(session: Session) -> tuple[Identity, Path]:
    """The identity of this command, and the data folder."""
    with suppress(NoGlanceError, NodeSilentError):  # a key is known though its process is stopped
        status = session.glance(_own_status)
        return told_of(status), Path(status.home)
    settings = session.settings()
    return own_identity(settings), settings.home


def _own_status() -> Steps[StatusView]:
    return cast("StatusView", cast("AgentDetail", (yield "get_agent", {"agent": "self"})).node)


def list_identities(context: typer.Context) -> None:
    """List the identities in this data folder."""
    session = session_of(context)
    home = session.home()
    identities = all_identities(home)

    def tell() -> None:
        if not identities:
            session.output.note(f"There is no identity in {home} yet. The first command creates one.")
            return
        drawn = Table(IDENTITIES)
        for one in identities:
            drawn.add(
                one.identity, one.name, Cell(_running(one), "" if one.running else "dim"), render.short_who(one.did)
            )
        session.output.table(drawn)

    listed: list[JsonValue] = [_fields(one) for one in identities]
    session.output.show_fields({"home": str(home), "identities": listed}, tell)


def _fields(identity: Identity) -> dict[str, JsonValue]:
    return {
        "identity": identity.identity,
        "name": identity.name,
        "did": identity.did,
        "words": identity.words,
        "running": identity.running,
        "pid": identity.pid,
    }


def _running(identity: Identity) -> str:
    if not identity.running:
        return "no"
    process = f"yes, process {identity.pid}" if identity.pid is not None else "yes"
    return f"{process} ({identity.doing})" if identity.doing else process


def status(context: typer.Context) -> None:
    """Show this node: network, queues and agents."""
    show_status(session_of(context))


def show_status(session: Session) -> None:
    """Print the state of the node: for `mcp-a2a status`, and for `mcp-a2a` alone on a terminal."""
    view, found = session.read(_looked_around)
    running = not session.ran_node
    if view is None:
        raise TypeError("a node tells its own state")
    session.output.show_fields(
        {**session.output.fields(view), "running": running}, lambda: _tell_status(session, view, found, running=running)
    )


def _looked_around() -> Steps[tuple[StatusView | None, DiscoverView]]:
    found = cast("DiscoverView", (yield "discover", {"settle_seconds": 1.0}))
    return cast("AgentDetail", (yield "get_agent", {"agent": "self"})).node, found


def _tell_status(session: Session, view: StatusView, found: DiscoverView, *, running: bool) -> None:
    session.output.line("\n".join(render.status_lines(view)))
    if not running:
        session.output.note("  No process of this identity is running, so this command looked around for a moment.")
    if found.agents:
        session.output.line("")
        session.output.table(render.agents_table(found.agents))
        if found.total > len(found.agents):
            session.output.note(f"{found.total - len(found.agents)} more: mcp-a2a discover --limit {MAX_LISTED}")
        session.output.note(f'\nNext: mcp-a2a send {shlex.quote(found.agents[0].name)} "TEXT"   or: mcp-a2a --help')
    elif found.reason:
        session.output.note(f"\nNo agents found. {found.reason}\n\nNext: mcp-a2a demo   or: mcp-a2a --help")


def version(context: typer.Context) -> None:
    """Print the version; with -v also Python and libraries."""
    session = session_of(context)
    fields: dict[str, JsonValue] = {"version": __version__}
    if session.options.verbosity > 0:
        import platform

        fields |= {"python": platform.python_version(), "platform": platform.platform(), "executable": sys.executable}
        fields |= {"packages": {name: _version_of(name) for name in PACKAGES}}

    def tell() -> None:
        session.output.line(f"mcp-a2a {__version__}")
        if session.options.verbosity > 0:
            session.output.line(f"Python {fields['python']} on {fields['platform']} ({fields['executable']})")
            session.output.line("  ".join(f"{name}{GLUE}{_version_of(name)}" for name in PACKAGES))

    session.output.show_fields(fields, tell)


def _version_of(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


# The identities of a data folder, and the truth about which of them run.

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
    """The state of that process, if it explains its silence."""


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
    from mcp_a2a.store.folder import read_name
    from mcp_a2a.store.keyfile import DID_FILE

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

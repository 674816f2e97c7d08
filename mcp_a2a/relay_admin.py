"""How the operator of a relay asks and commands it: over its socket when it runs, in its folder when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import anyio

from mcp_a2a.api.relay import RelayMembersView, RelayMemberView, RelayStatusView, RelayUrlView
from mcp_a2a.api.view import View
from mcp_a2a.errors import STOPPED, ConfigurationError, McpA2AError, RelayRunsError, named_process
from mcp_a2a.store.owner_file import LOCK, holder_of, state_of
from mcp_a2a.store.short_places import socket_path

SOCKET = "admin.sock"
ANSWER_SECONDS = 5.0
"""How long a relay may take to answer its operator."""

ATTEMPTS = 20
RETRY_SECONDS = 0.1
"""A relay that is just starting has its folder, but no socket yet."""

V = TypeVar("V", bound=View)


async def relay_status(home: Path) -> RelayStatusView:
    """How it stands with the relay of this data folder.

    Raises:
        ConfigurationError: there is none.
    """
    return await _ask(home, "status", {}, RelayStatusView)


async def relay_members(home: Path) -> RelayMembersView:
    """Who was admitted and who revoked.

    Raises:
        ConfigurationError: there is no relay.
    """
    return await _ask(home, "members", {}, RelayMembersView)


async def relay_admit(home: Path, member: str, note: str = "") -> RelayMemberView:
    """Have a closed relay serve this agent, or the members of this network.

    Raises:
        ConfigurationError: not a key, or there is no relay.
    """
    return await _ask(home, "admit", {"member": member, "note": note}, RelayMemberView)


async def relay_url(home: Path, *, new: bool = False) -> RelayUrlView:
    """The URL of the relay that runs in this data folder; a `new` one holds a new admission secret, and ends the old.

    Raises:
        ConfigurationError: there is no relay, or it does not run.
    """
    return await _ask(home, "url", {"new": "1" if new else ""}, RelayUrlView)


async def relay_revoke(home: Path, member: str, note: str = "") -> RelayMemberView:
    """Serve it no longer: its sessions end now, and what waited for it is deleted.

    Raises:
        ConfigurationError: not a key, or there is no relay.
    """
    return await _ask(home, "revoke", {"member": member, "note": note}, RelayMemberView)


async def _ask(home: Path, op: str, fields: Mapping[str, str], kind: type[V]) -> V:
    for attempt in range(ATTEMPTS):
        answer = await _ask_running(home, op, fields)
        if answer is not None:
            return kind.model_validate_json(answer)
        try:
            return await _ask_folder(home, op, fields, kind)
        except RelayRunsError:
            if attempt == ATTEMPTS - 1:
                raise
        await anyio.sleep(RETRY_SECONDS)
    raise ConfigurationError("The relay does not answer.", "Look at its log, or restart it.")


async def _ask_running(home: Path, op: str, fields: Mapping[str, str]) -> bytes | None:
    """The answer of the process that runs the relay; None where none does."""
    import aiohttp  # noqa: PLC0415  a third of a second that `--help` should not wait for

    path = socket_path(home / "relay", SOCKET)
    if not path.exists():
        return None
    patience = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=patience) as client,
            client.post(f"http://relay/{op}", json=dict(fields)) as response,
        ):
            if response.status == 200:
                return await response.read()
            said = await response.json()
    except TimeoutError as error:
        raise _silent(home) from error
    except (aiohttp.ClientError, OSError):
        return None  # it ended, without the time to clean up
    raise McpA2AError.rebuild(str(said["code"]), str(said["message"]), str(said["hint"]))


def _silent(home: Path) -> ConfigurationError:
    pid = holder_of(home / "relay" / LOCK)
    state = state_of(pid)
    if pid is None:
        hint = "If it was suspended (Ctrl-Z), continue it with fg; otherwise look at its log, or end it."
    elif state == STOPPED:
        hint = f"Continue it (fg in its terminal, or kill -CONT {pid}), or end it (kill -KILL {pid})."
    else:
        hint = f"Wait a moment and try again, look at its log, or end it (kill {pid})."
    return ConfigurationError(f"The relay of {home} ({named_process(pid, state)}) does not answer.", hint)


async def _ask_folder(home: Path, op: str, fields: Mapping[str, str], kind: type[V]) -> V:
    from mcp_a2a.relaying import open_unattended  # noqa: PLC0415  as above

    async with open_unattended(home) as operator:
        view = await operator.ask(op, dict(fields))
    if not isinstance(view, kind):
        raise TypeError(f"{op} is answered by {type(view).__name__}")
    return view

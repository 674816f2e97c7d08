"""The operator's access to a relay: over its socket when it runs, in its folder when it does not."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from mcp_a2a.api.request import A, Request, answer_of
from mcp_a2a.errors.machine import STOPPED, ConfigurationError, RelayRunsError, named_process
from mcp_a2a.node.ipc.glance import NoGlanceError, OtherVersionError, SilentError, plain_client
from mcp_a2a.store.owner_file import LOCK, holder_of, state_of
from mcp_a2a.store.short_places import RELAY_SOCKET, socket_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue

ANSWER_SECONDS = 5.0
"""Seconds that a relay may be silent while its operator waits."""

ATTEMPTS = 20
RETRY_SECONDS = 0.1
"""A relay that is just starting has its folder, but no socket yet."""


async def ask_relay(home: Path, request: Request[A]) -> A:
    """Ask or command the relay of a data folder.

    Args:
        home: the data folder.
        request: one of the questions of `api.relay`.

    Raises:
        ConfigurationError: there is no relay, it does not answer, or the question makes no sense to it.
    """
    for _ in range(ATTEMPTS - 1):
        with suppress(RelayRunsError):
            return await _ask_once(home, request)
        await anyio.sleep(RETRY_SECONDS)
    return await _ask_once(home, request)


async def _ask_once(home: Path, request: Request[A]) -> A:
    ask = partial(_ask_running, home, request.operation, request.model_dump(mode="json"))
    try:
        answer = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except OtherVersionError as error:
        raise ConfigurationError(f"The relay of {home} runs another version of mcp-a2a.", "Restart it.") from error
    except SilentError as error:
        raise _silent(home) from error
    except NoGlanceError:  # no process runs it, or one ended without the time to clean up
        return await _ask_folder(home, request)
    return answer_of(type(request)).model_validate(answer)


def _ask_running(home: Path, operation: str, fields: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The answer of the process that runs the relay."""
    with plain_client(socket_path(home / "relay", RELAY_SOCKET), ANSWER_SECONDS / 2) as client:
        return client.ask(operation, fields)


async def _ask_folder(home: Path, request: Request[A]) -> A:
    from mcp_a2a.relaying import open_unattended  # noqa: PLC0415  a third of a second that a relay's answer needs not

    async with open_unattended(home) as operator:
        return await operator.call(request)


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

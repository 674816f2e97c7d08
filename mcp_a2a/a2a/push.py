"""Webhooks: an event posted to the URL that a client named, and to nowhere that this machine alone can reach.

Where the person who runs the server says so (`near`), also to this machine and to private networks.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from http import HTTPStatus
from typing import Self

import anyio

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.addresses import NEAR, NEAR_OR_HTTPS, PUBLIC_HTTPS, Policy, check_url
from mcp_a2a.a2a.body import dump
from mcp_a2a.a2a.guarded import Call, Gone, GuardedSession, Resolve, pause_asked, resolve_anywhere
from mcp_a2a.errors.web import WebError
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig
from mcp_a2a.web_ports import HookGoneError, NotNowError

SECONDS = 15.0
MAX_ANSWER, ANSWER_SECONDS = 64 * 1024, 1.0
"""Read of what a hook says beside its status, so that the connection serves again. More ends the connection."""

REFUSED = frozenset({400, 401, 403, 405, 413, 415})
"""A hook that answers so will answer so again. Not 404: gateways say that of a hook which is being started."""


class WebHooks:
    """`Hooks` over HTTP."""

    def __init__(
        self,
        policy: Policy = PUBLIC_HTTPS,
        *,
        near: bool = False,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_anywhere,
    ) -> None:
        self._policy, self._near = policy, near
        self._tls = tls
        self._resolve = resolve
        self._sessions: dict[Policy, GuardedSession] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def check(self, url: str) -> None:
        """See `Hooks`."""
        check_url(url, self._policy_for(url))

    def _policy_for(self, url: str) -> Policy:
        if not self._near:
            return self._policy
        return NEAR_OR_HTTPS if url[:6].lower() == "https:" else NEAR

    def _session(self, url: str) -> GuardedSession:
        policy = self._policy_for(url)
        if policy not in self._sessions:
            self._sessions[policy] = GuardedSession(policy, tls=self._tls, resolve=self._resolve)
        return self._sessions[policy]

    def tells_whole_tasks(self, config: TaskPushNotificationConfig) -> bool:
        """See `Hooks`."""
        return (config.protocol_version or "").startswith("0.")

    async def post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> None:
        """See `Hooks`. The status of the answer counts, whatever follows it."""
        if self.tells_whole_tasks(config) and event.task is not None:
            kind, body = "application/json", dump(legacy.JSON_RPC.task(event.task))  # A2A 0.3.0 9.5
        else:
            kind, body = "application/a2a+json", event.to_json().encode()
        call = Call(
            "POST",
            config.url,
            headers={"Content-Type": kind},
            body=body,
            seconds=SECONDS,
            secrets=_secrets(config),
        )
        async with self._session(config.url).stream(call) as answer:
            status, later = answer.status, pause_asked(answer.headers)
            await _pass_over(answer.pieces)
        if not 200 <= status < 300:
            said, hint = f"{config.url} answered with HTTP status {status}.", "Its owner must look there."
            if status == HTTPStatus.GONE:
                raise HookGoneError(said, hint)
            if status in REFUSED or 300 <= status < 400:
                raise HookRefusedError(said, hint)
            raise NotNowError(said, hint, seconds=later)

    def close_gone(self, gone: Gone) -> None:
        """End what runs over an address that this machine no longer has, so that it is tried anew at once."""
        for session in self._sessions.values():
            session.close_gone(gone)

    async def close(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()


class HookRefusedError(WebError, code="hook_refused", retryable=False):
    """A hook that will not take this, however often it is tried."""


async def _pass_over(pieces: AsyncIterator[bytes]) -> None:
    read = 0
    with anyio.move_on_after(ANSWER_SECONDS), suppress(WebError):
        async for piece in pieces:
            read += len(piece)
            if read > MAX_ANSWER:
                return


def _secrets(config: TaskPushNotificationConfig) -> dict[str, str]:
    secrets = {}
    if config.authentication is not None:
        secrets["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials or ''}".strip()
    if config.token is not None:
        secrets["X-A2A-Notification-Token"] = config.token
    return secrets

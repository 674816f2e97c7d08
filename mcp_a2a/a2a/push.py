"""Webhooks: an event posted to the URL that a client named, and to nowhere that this machine alone can reach."""

from __future__ import annotations

import ssl
from typing import Self

from mcp_a2a.a2a import legacy
from mcp_a2a.a2a.addresses import PUBLIC_HTTPS, Policy, check_url
from mcp_a2a.a2a.body import dump
from mcp_a2a.a2a.guarded import Call, GuardedSession, Resolve, resolve_anywhere
from mcp_a2a.errors import WebError
from mcp_a2a.protocol.model import StreamResponse, TaskPushNotificationConfig

SECONDS = 15.0
MAX_ANSWER = 64 * 1024
"""What a hook answers is not read, only that it did."""

GONE = frozenset({400, 401, 403, 404, 405, 410, 413, 415})
"""A hook that answers so will answer so again."""


class WebHooks:
    """`Hooks` over HTTPS."""

    def __init__(
        self,
        policy: Policy = PUBLIC_HTTPS,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_anywhere,
    ) -> None:
        self._policy = policy
        self._tls = tls
        self._resolve = resolve
        self._session: GuardedSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def check(self, url: str) -> None:
        """See `Hooks`."""
        check_url(url, self._policy)

    def tells_whole_tasks(self, config: TaskPushNotificationConfig) -> bool:
        """See `Hooks`."""
        return (config.protocol_version or "").startswith("0.")

    async def post(self, config: TaskPushNotificationConfig, event: StreamResponse) -> None:
        """See `Hooks`."""
        if self.tells_whole_tasks(config) and event.task is not None:
            kind, body = "application/json", dump(legacy.task(event.task))  # A2A 0.3.0 9.5
        else:
            kind, body = "application/a2a+json", event.to_json().encode()
        if self._session is None:
            self._session = GuardedSession(self._policy, tls=self._tls, resolve=self._resolve)
        call = Call(
            "POST",
            config.url,
            headers={"Content-Type": kind},
            body=body,
            max_bytes=MAX_ANSWER,
            seconds=SECONDS,
            secrets=_secrets(config),
        )
        answer = await self._session.fetch(call)
        if not 200 <= answer.status < 300:
            error = WebError(f"{config.url} answered with HTTP status {answer.status}.", "Its owner must look there.")
            if answer.status in GONE or 300 <= answer.status < 400:
                error = HookGoneError(error.message, error.hint)
            raise error

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


class HookGoneError(WebError):
    """A hook that will not take this, however often it is tried."""

    code = "hook_gone"
    retryable = False


def _secrets(config: TaskPushNotificationConfig) -> dict[str, str]:
    secrets = {}
    if config.authentication is not None:
        secrets["Authorization"] = f"{config.authentication.scheme} {config.authentication.credentials or ''}".strip()
    if config.token is not None:
        secrets["X-A2A-Notification-Token"] = config.token
    return secrets

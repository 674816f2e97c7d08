"""Ending requests that would never end, such as an open `subscriptions/listen`, without breaking them off.

uvicorn's own way is to cancel them, which leaves the client with a broken stream and the log with a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_a2a.front.signals import ending_signals


# Work-around (mcp), look again 2027-03: https://github.com/modelcontextprotocol/python-sdk/issues/514
class OpenRequests:
    """The ASGI application that knows which requests are being answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[anyio.CancelScope] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; a request that is ended gets a proper end."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        response = _Response(send)
        with anyio.CancelScope() as cancel:
            self._open.add(cancel)
            try:
                await self._app(scope, receive, response.send)
            finally:
                self._open.discard(cancel)
        if cancel.cancelled_caught:
            await response.finish()
        return None

    def end(self) -> None:
        """End all of them."""
        for cancel in list(self._open):
            cancel.cancel()


class _Response:
    """The state of a response."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._started = self._complete = False

    async def send(self, message: Message) -> None:
        await self._send(message)
        self._started = True
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def finish(self) -> None:
        if not self._started:
            headers = [(b"content-length", b"0"), (b"retry-after", b"5")]
            await self._send({"type": "http.response.start", "status": 503, "headers": headers})
        if not self._complete:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


# Ending on a signal, in the same way on every transport.


async def stop_on_signal(stop: Callable[[], None], *, task_status: TaskStatus[None]) -> None:
    """Call `stop` at SIGTERM, SIGINT or SIGHUP; every time, so that who asks twice is heard twice."""
    if sys.platform == "win32":  # its event loop has no signal handlers; Ctrl-C arrives as KeyboardInterrupt
        task_status.started()
        return
    with anyio.open_signal_receiver(*ending_signals()) as received:
        task_status.started()
        async for _ in received:
            stop()

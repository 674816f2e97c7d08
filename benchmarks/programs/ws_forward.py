"""The floor of a relay, and the ceiling of a load generator: a bare aiohttp WebSocket server that passes every message
of a connection on to its partner, and knows nothing. Partners dial the same path. Prints its port."""

from __future__ import annotations

import sys

import anyio
from aiohttp import WSMsgType, web

waiting: dict[str, web.WebSocketResponse] = {}
partners: dict[web.WebSocketResponse, web.WebSocketResponse] = {}


async def forward(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    partner = waiting.pop(request.path, None)
    if partner is None:
        waiting[request.path] = socket
    else:
        partners[socket], partners[partner] = partner, socket
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await partners[socket].send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await partners[socket].send_str(message.data)
    return socket


async def main() -> None:
    app = web.Application()
    app.router.add_get("/{pair}", forward)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await anyio.sleep_forever()


anyio.run(main, backend_options={"use_uvloop": True})

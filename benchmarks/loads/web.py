"""Messages to an A2A server over HTTP, one client for every server."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from loads.flight import Figures, Flight, measured

TEXT = "x" * 300
WARM_UP = 300
HEADERS = {"A2A-Version": "1.0", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Load:
    """So many messages, so many of them under way, each until its task is completed."""

    count: int
    in_flight: int


class Client:
    """Sends messages and checks the answers."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._tasks = set[asyncio.Task[None]]()

    async def fly(self, load: Load, pid: int) -> Figures:
        await self._flight(Load(WARM_UP, load.in_flight)).fly()
        return await measured(self._flight(load), pid)

    def _flight(self, load: Load) -> Flight:
        def send(number: int) -> None:
            # A task of its own: a reply must not wait for the next request in the same stack.
            task = asyncio.get_running_loop().create_task(self._send(flight, number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        flight = Flight(load.count, load.in_flight, send)
        return flight

    async def _send(self, flight: Flight, number: int) -> None:
        message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": TEXT}]}
        body = {"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": {"message": message}}
        answer = b""
        try:
            async with self._session.post(self._url, data=json.dumps(body), headers=HEADERS) as response:
                answer = await response.read()
            task = json.loads(answer)["result"]["task"]
            result = task["status"]["state"], task["artifacts"][0]["parts"]
        except (aiohttp.ClientError, KeyError, ValueError) as error:
            return flight.failed(f"{error!r} in {answer[:200]!r}")
        if result != ("TASK_STATE_COMPLETED", [{"text": TEXT}]):
            return flight.failed(f"unexpected answer: {result}")
        return flight.confirmed(number)


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A client with a connection for each message under way."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session, url)

"""A TCP connection of a load generator: bytes in, whole messages taken off by whoever knows the protocol."""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Where:
    """A server to connect to."""

    port: int
    path: str = "/"
    tls: ssl.SSLContext | None = None


class Line(asyncio.Protocol, ABC):
    """One connection. `ready` is done when the protocol's greeting is over."""

    def __init__(self) -> None:
        self.is_closed = False
        self.lost: Callable[[], None] = lambda: None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    async def connect(self, where: Where) -> Self:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", where.port, ssl=where.tls)
        await asyncio.wait_for(self.ready, 10)
        return self

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @abstractmethod
    def greet(self) -> None:
        """The connection is there."""

    @abstractmethod
    def take(self, data: bytes) -> bytes:
        """Hand on every whole message; the rest comes back."""

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none of asyncio's classes
        self.greet()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True
        if not self.ready.done():
            self.ready.set_exception(error or ConnectionError("closed at once"))
        self.lost()

    def data_received(self, data: bytes) -> None:
        self._rest = self.take(self._rest + data if self._rest else data)

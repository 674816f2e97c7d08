"""Lines of a terminal, read without a thread: a thread that waits for a line could not be ended by Ctrl-C."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Self

import anyio

_CHUNK = 64 * 1024


class TypedLines:
    """Lines of a descriptor that blocks, as a terminal does: a shell uses the same one, and it stays as it is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while b"\n" not in self._rest:
            chunk = await self._read()
            if not chunk and not self._rest:
                raise StopAsyncIteration
            self._rest += chunk or b"\n"
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "replace") + "\n"

    async def _read(self) -> bytes:
        with suppress(OSError):  # a file is always ready, and no loop watches one
            await anyio.wait_readable(self._descriptor)
        return os.read(self._descriptor, _CHUNK)

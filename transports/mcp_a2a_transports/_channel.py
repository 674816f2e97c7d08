"""What a link needs of a wire."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol


class Channel(Protocol):
    """Carries frames in order, or breaks."""

    @property
    def here(self) -> str | None:
        """Our own address on it, where it has one."""
        return None

    async def receive(self) -> str | bytes:
        """The next frame.

        Raises:
            EndOfStream: the other side is gone.
            RemoteProtocolError: it broke the rules of the channel.
        """
        ...

    def offer(self, frame: str | bytes) -> Awaitable[None] | None:
        """Hand a frame to the wire at once, in a task or outside of one.

        Returns:
            None if the wire takes more. Otherwise the wire is full: await this before the next frame.

        Raises:
            BrokenResourceError: the other side is gone.
        """
        ...

    async def send(self, frame: str | bytes) -> None:
        """Hand a frame to the wire; waits while the wire is full.

        Raises:
            BrokenResourceError: the other side is gone.
        """
        full = self.offer(frame)
        if full is not None:
            await full

    async def aclose(self) -> None:
        """Close, politely if there is time; nothing is left open when this is cancelled."""
        ...

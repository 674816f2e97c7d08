"""The wire of a link, as the link needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from types import coroutine
from typing import Protocol, TypeVar

T = TypeVar("T")


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

    def offer(self, frame: str | bytes) -> Awaitable[None] | None:
        """Hand a frame to the wire at once, in a task or outside of one.

        Returns:
            None if the wire takes more. Otherwise the wire is full: await this before the next frame.

        Raises:
            BrokenResourceError: the other side is gone.
        """

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


@coroutine
def finished(begun: Coroutine[object, object, T], awaited: object) -> Generator[object, object, T]:
    """Go on with a coroutine that was begun with `send(None)`, from what it awaits; returns what it returns."""
    try:
        while True:
            try:
                outcome = yield awaited
            except BaseException as error:  # noqa: BLE001  also a cancellation is for the coroutine
                awaited = begun.throw(error)
            else:
                awaited = begun.send(outcome)
    except StopIteration as end:
        value: T = end.value
        return value

"""The state that a session in this process takes over from the front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from mcp_a2a.front.client import ClientPipe
    from mcp_a2a.front.frames import Greeting
    from mcp_a2a.front.journal import Journal
    from mcp_a2a.front.owner import HeldLock

Taken_co = TypeVar("Taken_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Handover(Generic[Taken_co]):
    """A client, with all that has to be known of it."""

    loaded: Taken_co
    greeting: Greeting
    client: ClientPipe
    journal: Journal
    """The lines that the session has to be told, in order."""
    lock: HeldLock | None = None
    """Of the data folder, where this process has become its owner."""

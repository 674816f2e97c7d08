"""One message at a relay, and where it is safe."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import Enum, auto

from mcp_a2a.protocol.connections import Wire


class Place(Enum):
    """The place of a message: in memory, on its way to the disk, or on disk."""

    MEMORY = auto()
    """In memory only."""
    WRITING = auto()
    DISK = auto()


@dataclass(eq=False, repr=False, slots=True)
class Message:
    """An envelope for `recipient` that `depositor` brought."""

    number: int
    recipient: bytes
    envelope_id: bytes
    depositor: bytes
    _: KW_ONLY
    envelope: bytes
    expires: float
    """On the wall clock."""
    place: Place = Place.MEMORY
    size: int = field(init=False)
    is_queued: bool = False
    """True if it is waiting, offered or paused."""
    is_absent: bool = False
    """True if it is paused, and its envelope on the disk only."""
    unknown_to: tuple[Wire, ...] = ()
    """Connections of its recipient's key that do not know its key or task, and the one that is being asked."""
    is_settled: bool = False
    """True if it was finally answered, expired or refused."""
    _digest: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.envelope)

    def is_the_same(self, depositor: bytes, envelope: bytes) -> bool:
        """True if the same depositor brings the same envelope again. An equal id proves nothing: ids are readable."""
        if self.is_absent:
            return self.depositor == depositor and self._digest == hash(envelope)
        return self.depositor == depositor and self.envelope == envelope

    def drop_envelope(self) -> None:
        """Let go of what the disk has."""
        self._digest, self.envelope, self.is_absent = hash(self.envelope), b"", True

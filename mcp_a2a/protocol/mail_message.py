"""One message at a relay, and where it is safe."""

from __future__ import annotations

from enum import Enum, auto

from mcp_a2a.protocol.connections import Wire


class Place(Enum):
    """The place of a message: in memory, on its way to the disk, or on disk."""

    MEMORY = auto()
    """Nowhere."""
    WRITING = auto()
    DISK = auto()


class Message:
    """An envelope for `recipient` that `depositor` brought."""

    __slots__ = (
        "_digest",
        "depositor",
        "envelope",
        "envelope_id",
        "expires",
        "is_absent",
        "is_queued",
        "is_settled",
        "number",
        "place",
        "recipient",
        "size",
        "unknown_to",
    )

    def __init__(  # noqa: PLR0913  a row
        self,
        number: int,
        recipient: bytes,
        envelope_id: bytes,
        depositor: bytes,
        *,
        envelope: bytes,
        expires: float,
        place: Place = Place.MEMORY,
    ) -> None:
        self.number = number
        self.recipient = recipient
        self.envelope_id = envelope_id
        self.depositor = depositor
        self.envelope = envelope
        self.size = len(envelope)
        self.expires = expires
        """On the wall clock."""
        self.place = place
        self.is_queued = False
        """True if it is waiting, offered or paused."""
        self._digest = 0
        self.is_absent = False
        """True if it is paused, and its envelope on the disk only."""
        self.unknown_to: tuple[Wire, ...] = ()
        """Connections of its recipient's key that do not know its key or task, and the one that is being asked."""
        self.is_settled = False
        """True if it was finally answered, expired or refused."""

    def is_the_same(self, depositor: bytes, envelope: bytes) -> bool:
        """True if the same depositor brings the same envelope again. An equal id proves nothing: ids are readable."""
        if self.is_absent:
            return self.depositor == depositor and self._digest == hash(envelope)
        return self.depositor == depositor and self.envelope == envelope

    def drop_envelope(self) -> None:
        """Let go of what the disk has."""
        self._digest, self.envelope, self.is_absent = hash(self.envelope), b"", True

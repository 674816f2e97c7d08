"""The keys that have a mailbox at a relay, and their open connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol


class Wire(Protocol):
    """A connection on which `key` has been proven."""

    @property
    def key(self) -> bytes:
        """The proven key of the connection."""

    @property
    def account(self) -> bytes:
        """The account of its deposits: that of an admitted network, or else of its host (`relay_limits`)."""

    def send(self, frame: str | bytes) -> None:
        """Queue a frame."""


class Connections:
    """Keys that were proven once, and their open connections, oldest first."""

    def __init__(self, keys: Iterable[bytes], max_keys: int) -> None:
        self._keys = set(keys)
        self._max_keys = max_keys
        self._wires: dict[bytes, list[Wire]] = {}

    @property
    def registered(self) -> int:
        """The number of keys with a mailbox."""
        return len(self._keys)

    @property
    def online(self) -> int:
        """The number of keys that are connected."""
        return len(self._wires)

    def register(self, key: bytes) -> bool:
        """Give a proven key a mailbox; False when there are too many."""
        if key not in self._keys and len(self._keys) >= self._max_keys:
            return False
        self._keys.add(key)
        return True

    def unregister(self, key: bytes) -> None:
        """Forget a key; its connections stay until they are closed."""
        self._keys.discard(key)

    def has_mailbox(self, key: bytes) -> bool:
        """True if mail for this key is taken."""
        return key in self._keys

    def is_online(self, key: bytes) -> bool:
        """True if it is connected."""
        return key in self._wires

    def wires_of(self, key: bytes) -> Sequence[Wire]:
        """Its connections, oldest first."""
        return self._wires.get(key, ())

    def newest(self, key: bytes) -> Wire | None:
        """The connection that receives."""
        wires = self._wires.get(key)
        return wires[-1] if wires else None

    def add(self, wire: Wire) -> None:
        """Add an open connection, as the newest of its key."""
        self._wires.setdefault(wire.key, []).append(wire)

    def remove(self, wire: Wire) -> None:
        """Remove a connection that has ended."""
        wires = self._wires.get(wire.key, [])
        if wire in wires:
            wires.remove(wire)
        if not wires:
            self._wires.pop(wire.key, None)

    def tell(self, key: bytes, frame: str) -> bool:
        """Send a frame to every connection of a key; False when there is none.

        An answer is for the one that brought the message. That is another one than the newest where two machines have
        one key, and to the others it says nothing.
        """
        wires = self._wires.get(key)
        if not wires:
            return False
        for wire in wires:
            wire.send(frame)
        return True

"""A control object from a peer, read field by field: each reader takes one shape and refuses all others."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from mcp_a2a.errors import RemoteProtocolError
from mcp_a2a.protocol.control import MAX_PRESENCE, MAX_TEXT_FRAME
from mcp_a2a.protocol.did import DID_LENGTH, PeerId
from mcp_a2a.protocol.envelope import ENVELOPE_ID_SIZE
from mcp_a2a.protocol.receipt import MAX_POSTMARKS, POSTMARK_SIZE

MAX_RETRY_AFTER_SECONDS = 7 * 86_400
MAX_WORD = 32
"""Length of codes and roles."""

_MAX_COUNT = 2**53


class Fields:
    """A control object, read field by field."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, JsonValue]) -> None:
        self._fields = fields

    def has(self, name: str) -> bool:
        """Whether a field is there and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str, limit: int = MAX_TEXT_FRAME) -> str:
        """A text of at most so many characters."""
        value = self._fields.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise RemoteProtocolError(f"A control frame has no acceptable {name!r}.")
        return value

    def count(self, name: str) -> int:
        """A whole number from 0 to 2**53."""
        value = self._fields.get(name)
        if type(value) is not int or not 0 <= value < _MAX_COUNT:
            raise RemoteProtocolError(f"A control frame has no whole number in {name!r}.")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._fields.get(name)
        if not isinstance(value, bool):
            raise RemoteProtocolError(f"A control frame has neither true nor false in {name!r}.")
        return value

    def peer(self, name: str) -> PeerId:
        """A key."""
        return PeerId.parse_untrusted(self.text(name, DID_LENGTH))

    def peers(self, name: str) -> tuple[PeerId, ...]:
        """A list of keys."""
        values = self._fields.get(name)
        if not isinstance(values, list) or len(values) > MAX_PRESENCE:
            raise RemoteProtocolError(f"A control frame has no list of keys in {name!r}.")
        return tuple(PeerId.parse_untrusted(value if isinstance(value, str) else "") for value in values)

    def blob(self, name: str, limit: int) -> bytes:
        """At most so many bytes."""
        text = self.text(name, 2 * limit)
        return unhex(text, len(text) // 2)

    def code(self) -> str:
        """A word for programs. It ends up in sentences and logs, so it is a word and nothing else."""
        code = self.text("code", MAX_WORD)
        if not (code.isascii() and code.replace("_", "").isalnum()):
            raise RemoteProtocolError("A control frame has no acceptable code.")
        return code

    def objects(self, name: str, limit: int) -> list[Fields]:
        """A list of at most so many objects; empty where there is none."""
        values = self._fields.get(name)
        if values is None:
            return []
        if not isinstance(values, list) or len(values) > limit:
            raise RemoteProtocolError(f"A control frame has no acceptable list in {name!r}.")
        return [Fields(value if isinstance(value, dict) else {}) for value in values]

    def seconds(self, name: str) -> float | None:
        """A time up to 7 days, where there is one."""
        value = self._fields.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value <= MAX_RETRY_AFTER_SECONDS:  # type: ignore[operator]  # checked just before
            raise RemoteProtocolError(f"A control frame has no acceptable time in {name!r}.")
        return float(value)  # type: ignore[arg-type]  # an int or a float

    def raw(self, name: str, size: int) -> bytes:
        """Exactly so many bytes."""
        return unhex(self._fields.get(name), size)

    def ids(self, name: str) -> tuple[bytes, ...]:
        """Ids of envelopes."""
        return self._batch(name, ENVELOPE_ID_SIZE)

    def postmarks(self, name: str) -> tuple[bytes, ...]:
        """Postmarks of messages."""
        return self._batch(name, POSTMARK_SIZE)

    def _batch(self, name: str, size: int) -> tuple[bytes, ...]:
        values = self._fields.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_POSTMARKS:
            raise RemoteProtocolError(f"A control frame has no acceptable list in {name!r}.")
        return tuple(unhex(value, size) for value in values)

    def inner(self, name: str) -> Fields:
        """An object."""
        value = self._fields.get(name)
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"A control frame has no object in {name!r}.")
        return Fields(value)


def unhex(value: JsonValue, size: int) -> bytes:
    """Bytes of this size in lowercase hex; one spelling only."""
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError as error:
        raise RemoteProtocolError("A control frame holds something that is not hex.") from error
    # fromhex also takes capitals and blanks.
    if len(raw) != size or raw.hex() != value:
        raise RemoteProtocolError(f"A control frame lacks {size} bytes of lowercase hex.")
    return raw

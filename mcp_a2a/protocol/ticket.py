"""A ticket: one line that admits to a network.

    a2a1 + base32( version 1 | flags | network name | key | owner | inviter | relays | addresses | expiry | checksum )

Lowercase, no padding, nothing that a chat program turns into something else. Lengths stand before what they measure.
The checksum finds a letter that was lost or changed on the way; it is no signature: any holder of the secret can write
a ticket, because knowing the secret is membership.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from mcp_a2a.errors.networks import TicketError
from mcp_a2a.errors.protocol import LocalProtocolError, RemoteProtocolError
from mcp_a2a.errors.remedy import Remedy
from mcp_a2a.protocol.crypto import sha256
from mcp_a2a.protocol.did import KEY_SIZE, PeerId
from mcp_a2a.protocol.network import SECRET_SIZE, TOKEN_SIZE
from mcp_a2a.protocol.text import preview

PREFIX = "a2a1"
MAX_NAME_CHARS = 64
MAX_PLACES = 8
MAX_PLACE_BYTES = 512
MAX_TICKET_CHARS = 16_384

_LABEL = b"mcp-a2a/v1/ticket\0"
_CHECKSUM_SIZE = 5
_VERSION = 1
_LIMITED, _EXPIRES = 1, 2
_EXPIRY = struct.Struct(">Q")
_LATER = re.compile("a2a[2-9]")


@dataclass(frozen=True, slots=True)
class Ticket:
    """The content of a ticket. It has either the network's secret or a token that stands for it at the first relay."""

    network: str
    owner: PeerId
    inviter: PeerId
    relays: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    secret: bytes | None = field(default=None, repr=False)
    token: bytes | None = field(default=None, repr=False)
    expires: int | None = None

    def to_text(self) -> str:
        """The ticket as it is passed on.

        Raises:
            LocalProtocolError: it is none that `parse_untrusted` would take.
        """
        body = self._to_bytes()
        text = PREFIX + base64.b32encode(body + _checksum(body)).decode().rstrip("=").lower()
        try:
            read = Ticket.parse_untrusted(text)
        except TicketError as error:
            raise LocalProtocolError(f"This ticket of ours is not acceptable: {error.message}") from error
        if read != self:
            raise LocalProtocolError("This ticket of ours would be read as another one.")
        return text

    def check_expiry(self, now: float) -> None:
        """Return if it may still be used.

        Raises:
            TicketError: it has expired.
        """
        if self.expires is not None and now >= self.expires:
            raise TicketError(f"it expired on {_minute(self.expires)}; the clock of this machine says {_minute(now)}")

    @classmethod
    def parse_untrusted(cls, text: str) -> Self:
        """The ticket in a text from outside.

        Raises:
            TicketError: the text is no ticket, or damaged, or of a newer version.
        """
        line = "".join(text.split()).lower()
        if _LATER.match(line):
            raise TicketError("it is of a newer version", "Upgrade mcp-a2a, then try again.")
        if not line.startswith(PREFIX):
            raise TicketError("it does not begin with a2a1", Remedy("Copy the whole line that mcp-a2a invite printed."))
        if len(line) > MAX_TICKET_CHARS:
            raise TicketError("it is far too long to be one")
        return cls._read_untrusted(_unchecked(line.removeprefix(PREFIX)))

    # --- bytes -----------------------------------------------------------------------------------

    def _to_bytes(self) -> bytes:
        if (self.secret is None) == (self.token is None):
            raise LocalProtocolError("A ticket has either a secret or a token.")
        flags = (_LIMITED if self.token is not None else 0) | (_EXPIRES if self.expires is not None else 0)
        parts = [bytes((_VERSION, flags)), _packed(self.network), self.secret or self.token or b""]
        parts += [self.owner.key, self.inviter.key]
        for places in (self.relays, self.addresses):
            parts += [bytes((len(places),)), *map(_packed, places)]
        if self.expires is not None:
            parts.append(_EXPIRY.pack(self.expires))
        return b"".join(parts)

    @classmethod
    def _read_untrusted(cls, body: bytes) -> Self:
        reader = _Reader(body)
        try:
            version, flags = reader.take(2)
            if version != _VERSION or flags & ~(_LIMITED | _EXPIRES):
                raise TicketError("it is of a newer version", "Upgrade mcp-a2a, then try again.")
            limited = bool(flags & _LIMITED)
            name = reader.text()
            key = reader.take(TOKEN_SIZE if limited else SECRET_SIZE)
            owner, inviter = PeerId(reader.take(KEY_SIZE)), PeerId(reader.take(KEY_SIZE))
            relays, addresses = reader.texts(), reader.texts()
            expires = int(_EXPIRY.unpack(reader.take(_EXPIRY.size))[0]) if flags & _EXPIRES else None
            reader.end()
        except (RemoteProtocolError, UnicodeDecodeError) as error:
            raise TicketError("its content makes no sense") from error
        if not name or preview(name, MAX_NAME_CHARS) != name:
            raise TicketError("the name of its network is not acceptable")
        return cls(name, owner, inviter, relays, addresses, None if limited else key, key if limited else None, expires)


class _Reader:
    """Bytes of a ticket, read from the front."""

    def __init__(self, body: bytes) -> None:
        self._rest = body

    def take(self, size: int) -> bytes:
        if len(self._rest) < size:
            raise RemoteProtocolError("A ticket ends too early.")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def text(self) -> str:
        (size,) = struct.unpack(">H", self.take(2))
        if size > MAX_PLACE_BYTES:
            raise RemoteProtocolError("A ticket holds a text that is too long.")
        return self.take(size).decode()

    def texts(self) -> tuple[str, ...]:
        (count,) = self.take(1)
        if count > MAX_PLACES:
            raise RemoteProtocolError("A ticket names too many places.")
        return tuple(self.text() for _ in range(count))

    def end(self) -> None:
        if self._rest:
            raise RemoteProtocolError("The ticket has extra text at the end.")


def _packed(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > MAX_PLACE_BYTES:
        raise LocalProtocolError("A ticket holds a text that is too long.")
    return len(raw).to_bytes(2) + raw


def _checksum(body: bytes) -> bytes:
    return sha256(_LABEL + body)[:_CHECKSUM_SIZE]


def _unchecked(letters: str) -> bytes:
    """The body of a ticket whose every letter is as it was written."""
    damaged = TicketError("a letter is wrong or missing", "Copy the whole line again, from a2a1 to its end.")
    try:
        raw = base64.b32decode(letters.upper() + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise damaged from None
    body, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    # One spelling only: the last letter has bits to spare.
    if checksum != _checksum(body) or base64.b32encode(raw).decode().rstrip("=").lower() != letters:
        raise damaged
    return body


def _minute(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")

"""The orders of a relay's mail to its disk, to be carried out in the order in which they were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from mcp_a2a.protocol.mail_message import Message


@dataclass(frozen=True, slots=True)
class Put:
    """Write this message. Answered by `put_done` or `put_failed`."""

    message: Message


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete this message. Answered by `dropped` when that is committed."""

    number: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep an answer for a depositor that is away."""

    depositor: bytes
    envelopes: tuple[bytes, ...]
    frame: str


@dataclass(frozen=True, slots=True)
class Load:
    """Read messages of this mailbox after a number, in order. Answered by `loaded`, at once."""

    token: int
    recipient: bytes
    after: int
    frames: int
    max_bytes: int


Order: TypeAlias = Put | Drop | Keep | Load


@dataclass(frozen=True, slots=True)
class Backlog:
    """The mail of one depositor in a mailbox at the start of the relay."""

    recipient: bytes
    depositor: bytes
    count: int
    size: int
    account: bytes = b""
    """The account to which the depositor's mail is charged."""


@dataclass(slots=True)
class MailTotals:
    """Counts of messages since the relay started."""

    deposited: int = 0
    answered: int = 0
    stored: int = 0
    refused: int = 0

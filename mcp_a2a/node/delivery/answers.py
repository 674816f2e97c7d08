"""The effect of each answer on its message: one table.

A carrier is not trusted: what the recipient has not signed over this very message can put it off, and do nothing else.
The courier has checked the signature before it reports an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Self

from mcp_a2a.protocol.receipt import UNKNOWN_TASK
from mcp_a2a.protocol.replay import stale_difference


class Word(Enum):
    """The kinds of answers."""

    DELIVERED = auto()
    STORED = auto()
    HELD = auto()
    NEWER_KEY = auto()
    """The recipient does not have the key that the envelope is sealed to, and shows the one that it has. The courier
    has checked that the shown key is the recipient's."""
    NOT_KEPT = auto()
    """The relay does not have the envelope (any more)."""
    UNKNOWN_TASK = auto()
    BUSY = auto()
    STALE = auto()
    UNREADABLE = auto()
    REFUSED = auto()
    """Any other code of refusal."""
    LOST = auto()
    """HTTP: the message was taken, and no proper answer came."""
    SUPERSEDED = auto()
    """HTTP: a reply that the agent no longer waits for, or a cancellation that it does not accept."""


class Effect(Enum):
    """The effects of answers."""

    ACCEPT = auto()
    DISBELIEVE = auto()
    KEEP = auto()
    HOLD = auto()
    RESEAL = auto()
    SEND_NOW = auto()
    PUT_OFF = auto()
    TRY_ELSEWHERE = auto()
    WAIT_BUSY = auto()
    WAIT_CLOCK = auto()
    RETRY_READING = auto()
    REFUSE = auto()
    COUNT_LOST = auto()
    DROP = auto()


ANSWERS: Mapping[tuple[Word, bool], Effect] = MappingProxyType(
    {
        (Word.DELIVERED, True): Effect.ACCEPT,
        (Word.DELIVERED, False): Effect.DISBELIEVE,
        (Word.STORED, True): Effect.KEEP,
        (Word.STORED, False): Effect.KEEP,
        (Word.HELD, True): Effect.HOLD,
        (Word.HELD, False): Effect.DISBELIEVE,
        (Word.NEWER_KEY, True): Effect.RESEAL,
        (Word.NEWER_KEY, False): Effect.RESEAL,
        (Word.NOT_KEPT, True): Effect.SEND_NOW,
        (Word.NOT_KEPT, False): Effect.SEND_NOW,
        (Word.UNKNOWN_TASK, True): Effect.TRY_ELSEWHERE,
        (Word.UNKNOWN_TASK, False): Effect.PUT_OFF,
        (Word.BUSY, True): Effect.WAIT_BUSY,
        (Word.BUSY, False): Effect.PUT_OFF,
        (Word.STALE, True): Effect.WAIT_CLOCK,
        (Word.STALE, False): Effect.PUT_OFF,
        (Word.UNREADABLE, True): Effect.RETRY_READING,
        (Word.UNREADABLE, False): Effect.PUT_OFF,
        (Word.REFUSED, True): Effect.REFUSE,
        (Word.REFUSED, False): Effect.PUT_OFF,
        (Word.LOST, True): Effect.COUNT_LOST,
        (Word.LOST, False): Effect.COUNT_LOST,
        (Word.SUPERSEDED, True): Effect.DROP,
        (Word.SUPERSEDED, False): Effect.PUT_OFF,
    }
)
"""By what is said, and whether the recipient has signed it for this message."""

ENDS = frozenset({Effect.ACCEPT, Effect.REFUSE, Effect.DROP, Effect.RETRY_READING, Effect.WAIT_CLOCK})
"""Effects that can take a message out of the queue; `COUNT_LOST` can where the courier has a limit for it."""

SLOWED = frozenset({"rate_limited", "busy"})
"""Codes of a relay that takes fewer messages than there are. Every larger file meets them."""

_WORDS = {UNKNOWN_TASK: Word.UNKNOWN_TASK, "busy": Word.BUSY, "rejected": Word.UNREADABLE, "unknown": Word.NOT_KEPT}


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, as a courier reports it."""

    word: Word
    signed: bool = False
    """True if the recipient has signed it for this message."""
    code: str = ""
    """Of a refusal."""
    retry_after: float | None = None
    """Seconds that the answer asks for."""

    @classmethod
    def refused(cls, code: str, *, signed: bool, retry_after: float | None = None) -> Self:
        """A refusal with this code, other than one that shows a newer key."""
        word = Word.STALE if stale_difference(code)[0] else _WORDS.get(code, Word.REFUSED)
        return cls(word, signed, code, retry_after)

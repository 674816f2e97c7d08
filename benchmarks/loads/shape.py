"""The load, whatever server it is for."""

from __future__ import annotations

from dataclasses import dataclass

BODY_SIZE = 1712
"""Of the smallest envelope."""


@dataclass(frozen=True)
class Shape:
    """Pairs of a sender and a recipient, messages under way, and messages in all."""

    pairs: int
    in_flight: int
    count: int


def body(number: int) -> bytes:
    """A message that knows its number."""
    return number.to_bytes(8, "big") + b"x" * (BODY_SIZE - 8)

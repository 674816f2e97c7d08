"""A message that is not taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Refusal(Exception):  # noqa: N818  an answer of the protocol, not a fault
    """The message is not taken, and the sender is told why."""

    code: str
    retry_after: float | None = None

"""Which envelopes of a link still await an answer, theirs and ours."""

from __future__ import annotations

from mcp_a2a.protocol.control import Answer, envelopes_of
from mcp_a2a.protocol.envelope import id_of

MAX_IN_FLIGHT = 4096
"""Envelopes of ours whose answers are awaited; the oldest are forgotten, and will be sent again."""


class Ledger:
    """Debts in both directions, by envelope id."""

    def __init__(self) -> None:
        self._ours: dict[bytes, None] = {}  # in the order they were sent
        self._theirs: set[bytes] = set()

    @property
    def owed(self) -> int:
        """How many answers we owe."""
        return len(self._theirs)

    def submitted(self, envelope: bytes) -> None:
        """We sent an envelope."""
        self._ours[id_of(envelope)] = None
        if len(self._ours) > MAX_IN_FLIGHT:
            del self._ours[next(iter(self._ours))]

    def receive_answer(self, answer: Answer) -> bool:
        """Whether an answer is about anything that still awaited one."""
        known = [envelope for envelope in envelopes_of(answer) if envelope in self._ours]
        for envelope in known:
            self._ours.pop(envelope, None)
        return bool(known)

    def receive_envelope(self, envelope_id: bytes) -> bool:
        """Whether it is a new debt: the same one again will be served by the same answer."""
        if envelope_id in self._theirs:
            return False
        self._theirs.add(envelope_id)
        return True

    def answered(self, answer: Answer) -> None:
        """We answered."""
        self._theirs.difference_update(envelopes_of(answer))

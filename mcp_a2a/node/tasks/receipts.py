"""Answers to the sender of an envelope: a receipt once it is stored, or the reason of a refusal."""

from __future__ import annotations

import logging

from mcp_a2a.node.runtime.context import Context
from mcp_a2a.node.runtime.refusal import Refusal
from mcp_a2a.ports import Link
from mcp_a2a.protocol.control import Delivered, Held, Refused
from mcp_a2a.protocol.did import PeerId
from mcp_a2a.protocol.receipt import HELD_VERDICT, MAX_POSTMARKS, envelope_id_of, sign_receipt, sign_verdict

logger = logging.getLogger(__name__)

BUSY_RETRY_SECONDS = 10.0


class Receipts:
    """Signs for envelopes, each exactly once, and only after the commit that stores what it brought."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: dict[tuple[Link, PeerId], list[bytes]] = {}
        context.database.after_commit(self.sign)

    def add(self, link: Link, sender: PeerId, postmark: bytes) -> None:
        """Sign for this envelope with the next signature."""
        self._due.setdefault((link, sender), []).append(postmark)

    def sign(self) -> None:
        """Sign once for all that a link brought of one sender and this commit stored.

        Per sender, because a relay hands each receipt to the sender of what it signs for, and to no other.
        """
        due, self._due = self._due, {}
        for (link, _), postmarks in due.items():
            for start in range(0, len(postmarks), MAX_POSTMARKS):
                some = tuple(postmarks[start : start + MAX_POSTMARKS])
                link.answer(Delivered(some, sign_receipt(self._context.identity, some)))

    def conclude(self, link: Link, postmark: bytes, sender: PeerId, outcome: object) -> None:
        """Answer after the commit: a receipt for what is stored (also if it was before), or why it is not."""
        match outcome:
            case Refusal():
                self.refuse(link, postmark, outcome)
            case Exception():
                # Nothing was stored, so nothing is acknowledged: the sender keeps it and tries again.
                logger.error("a message from %s could not be stored: %s", link.peer, outcome)
                self.refuse(link, postmark, Refusal("busy", BUSY_RETRY_SECONDS))
            case _:
                self.add(link, sender, postmark)

    def refuse(self, link: Link, postmark: bytes, refusal: Refusal) -> None:
        """Say why an envelope is not taken."""
        signature = sign_verdict(self._context.identity, postmark, refusal.code)
        link.answer(Refused(envelope_id_of(postmark), refusal.code, refusal.retry_after, signature=signature))

    def hold_back(self, link: Link, postmark: bytes) -> None:
        """Say that the owner must decide first."""
        signature = sign_verdict(self._context.identity, postmark, HELD_VERDICT)
        link.answer(Held(envelope_id_of(postmark), signature))

"""The carrier of messages to one kind of destination.

    queue    Send DialWanted
    courier  sent not_sent answered | route_opened unreachable

One courier alone looks at tasks (`HttpCourier.look`), and one probes routes and checks copies (`SealedCourier`).

A courier knows payloads, keys, connections and signatures. It decides nothing: it reports, and the queue answers with
the next event. It checks signatures before it reports: `Answered.signed` is the courier's word.
"""

from __future__ import annotations

from typing import Protocol

from mcp_a2a.node.delivery.model import Send
from mcp_a2a.node.delivery.patience import Patience


class Courier(Protocol):
    """Carries for the destinations of one kind. None of its methods waits for another machine."""

    @property
    def patience(self) -> Patience:
        """The numbers that the queue goes by."""

    def carry(self, send: Send) -> None:
        """Put a message on its route, or begin to. Ends a look at the task of the message that is going on.

        Reports `sent` or `not_sent` before it returns, and `answered` when an answer comes.
        """

    def dial(self, destination: str) -> None:
        """Begin to open a route. Reports `route_opened` or `unreachable`, always one of them."""

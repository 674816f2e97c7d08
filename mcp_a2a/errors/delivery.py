"""A message that does not reach its recipient."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.remedy import Remedy, plain


class DeliveryError(McpA2AError, code="delivery", exit_code=4, retryable=True):
    """The message could not be handed to its recipient."""


class NoRouteError(DeliveryError, code="unreachable"):
    """Every way to the peer was tried and failed; `attempts` lists each with its reason."""

    remedy = plain("Check that it is running, then try again.")

    def __init__(self, asked: str, attempts: Sequence[str], remedy: str | Remedy | None = None) -> None:
        tried = "; ".join(attempts) if attempts else "no address is known for it"
        super().__init__(f"{asked} could not be reached: {tried}.", remedy)
        self.attempts = tuple(attempts)


class RefusedError(DeliveryError, code="refused", exit_code=5, retryable=False):
    """The recipient's node refused the message for good."""

    remedy = Remedy("Ask its owner to trust you (mcp-a2a id shows who you are), or choose another agent.")

    def __init__(self, asked: str, reason: str, remedy: str | Remedy | None = None) -> None:
        super().__init__(f"{asked} refused the message: {reason}.", remedy)


class ExpiredError(DeliveryError, code="expired"):
    """The message was not delivered before it expired."""

    remedy = plain("Send it again when the agent is back.")

    def __init__(self, asked: str, days: float) -> None:
        super().__init__(f"{asked} was not reachable for {days:.0f} days, so the message expired undelivered.")


class QueueFullError(DeliveryError, code="queue_full", quotes=False):
    """A bounded queue is at its limit."""

    remedy = plain("Wait until some are delivered, or cancel tasks you no longer need.")

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"The {what} holds {limit} items, which is its limit; nothing was stored.")


class FilesWaitError(DeliveryError, code="files_wait", quotes=False):
    """As many bytes of files as are kept here wait for those that they were sent to."""

    says = "{:,} MiB of files wait here to be delivered, which is the limit; nothing was stored."
    remedy = QueueFullError.remedy


class TooLargeError(DeliveryError, code="too_large", exit_code=2, retryable=False, quotes=False):
    """The message does not fit into one envelope."""

    remedy = plain("Shorten it, or split it into several tasks.")

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The message is {size:,} bytes; at most {limit:,} fit into one.")


class UnsendableError(DeliveryError, code="unsendable", exit_code=2, retryable=False):
    """The message cannot be put into an envelope: its structure is beyond what a peer accepts."""

    says = "The message cannot be sent: {}."
    remedy = plain("Nothing was stored. Send plain text, or simpler data (depth 32, 10,000 members at most).")


class LinkError(DeliveryError, code="link"):
    """A link could not be opened, or is closed."""

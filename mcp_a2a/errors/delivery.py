"""A message that does not reach its recipient."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError


class DeliveryError(McpA2AError, code="delivery", exit_code=4, retryable=True):
    """The message could not be handed to its recipient."""


class NoRouteError(DeliveryError, code="unreachable"):
    """Every way to the peer was tried and failed; `attempts` lists each with its reason."""

    def __init__(self, asked: str, attempts: Sequence[str], hint: str = "") -> None:
        tried = "; ".join(attempts) if attempts else "no address is known for it"
        super().__init__(f"{asked} could not be reached: {tried}.", hint or "Check that it is running, then try again.")
        self.attempts = tuple(attempts)


class RefusedError(DeliveryError, code="refused", exit_code=5, retryable=False):
    """The recipient's node refused the message for good."""

    def __init__(
        self,
        asked: str,
        reason: str,
        hint: str = "Ask its owner to trust you (mcp-a2a id shows who you are), or choose another agent.",
    ) -> None:
        super().__init__(f"{asked} refused the message: {reason}.", hint)
        self.reason = reason


class ExpiredError(DeliveryError, code="expired", exit_code=4):
    """The message was not delivered before it expired."""

    def __init__(self, asked: str, days: float) -> None:
        super().__init__(
            f"{asked} was not reachable for {days:.0f} days, so the message expired undelivered.",
            "Send it again when the agent is back.",
        )


class QueueFullError(DeliveryError, code="queue_full", exit_code=4):
    """A bounded queue is at its limit."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(
            f"The {what} holds {limit} items, which is its limit; nothing was stored.",
            "Wait until some are delivered, or cancel tasks you no longer need.",
        )


class FilesWaitError(DeliveryError, code="files_wait", exit_code=4):
    """As many bytes of files as are kept here wait for those that they were sent to."""

    def __init__(self, mib: int) -> None:
        super().__init__(
            f"{mib:,} MiB of files wait here to be delivered, which is the limit; nothing was stored.",
            "Wait until some are delivered, or cancel tasks you no longer need.",
        )


class TooLargeError(DeliveryError, code="too_large", exit_code=2, retryable=False):
    """The message does not fit into one envelope."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"The message is {size:,} bytes; at most {limit:,} fit into one.",
            "Shorten it, or split it into several tasks.",
        )


class UnsendableError(DeliveryError, code="unsendable", exit_code=2, retryable=False):
    """The message cannot be put into an envelope: its structure is beyond what a peer accepts."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The message cannot be sent: {reason}.",
            "Nothing was stored. Send plain text, or simpler data (depth 32, 10,000 members at most).",
        )


class LinkError(DeliveryError, code="link"):
    """A link could not be opened, or is closed."""

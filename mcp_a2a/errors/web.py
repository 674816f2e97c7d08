"""Agents, cards and hooks at URLs that others chose."""

from __future__ import annotations

from collections.abc import Sequence

from mcp_a2a.errors import McpA2AError, without_secrets
from mcp_a2a.errors.remedy import Remedy, plain


class WebError(McpA2AError, code="web", exit_code=4, retryable=True):
    """An HTTP server did not do what it should; the message says which and what."""


class CardError(WebError, code="card", exit_code=3, retryable=False):
    """There is no usable agent card at a URL."""


class AddressNotAllowedError(WebError, code="address_not_allowed", exit_code=5, retryable=False):
    """A URL that a stranger chose leads to a place that it must not reach.

    A place that has a remedy of its own is one that no person can allow.
    """

    remedy = plain("Only public https URLs are allowed.")

    def __init__(self, url: str, reason: str, remedy: str | Remedy | None = None) -> None:
        self.url, self.may_be_allowed = without_secrets(url), remedy is None
        super().__init__(f"{self.url} may not be called: {reason}.", remedy)


class WebRefusedError(WebError, code="web_refused", exit_code=5, retryable=False):
    """An A2A agent answered that it will not do it; `reason` is A2A's name for why, or ours."""

    def __init__(self, message: str, remedy: str | Remedy | None = None, reason: str = "") -> None:
        super().__init__(message, remedy)
        self.reason = reason


class ExtensionRequiredError(WebRefusedError, code="extension_required"):
    """An agent insists on protocol extensions that the request does not have (A2A 4.6)."""

    def __init__(self, name: str, uris: Sequence[str]) -> None:
        listed = ", ".join(uris)
        super().__init__(
            f"{name} takes requests with the A2A extension {listed} only, which mcp-a2a does not speak. "
            "Nothing was sent.",
            "Ask its owner for an agent that does not require it, or use a client that speaks it.",
            "EXTENSION_SUPPORT_REQUIRED",
        )


class WebAnswerError(WebError, code="web_answer", exit_code=7, retryable=False):
    """An A2A agent answered something that A2A does not know; the message says what."""


class WebFailedError(WebAnswerError, code="web_failed", retryable=True):
    """An A2A agent answered that it failed over a request that may be good."""

    # Retryable by who asked, who knows what doing a part of it twice would do.


class TaskLostError(WebError, code="task_lost"):
    """An A2A agent took a task and does not know it any more, as after a restart."""

    says = "{} no longer knows this task: the agent lost it, perhaps in a restart, and it may be half done."
    remedy = plain("Send it again, unless it is harmful to do part of it twice.")

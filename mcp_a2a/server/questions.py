"""What a session asks its client, told apart from what an earlier session of the same client has asked.

A session numbers its requests from the beginning. When it ends with its process, the client may still answer one, and
the next session would take that for the answer to its own request of the same number: a yes to another question.
"""

from __future__ import annotations

from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, RequestId

CANCELLED = "notifications/cancelled"


class Questions:
    """Gives the requests of a session ids of its own. Those of a first session stay as they are."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._ids: dict[RequestId, RequestId] = {}

    def asked(self, message: JSONRPCMessage) -> JSONRPCMessage:
        """A request or notification of the server, as the client gets it."""
        if not self._session:
            return message
        if isinstance(message, JSONRPCRequest):
            own = f"{self._session}.{message.id}"
            self._ids[own] = message.id
            return message.model_copy(update={"id": own})
        if isinstance(message, JSONRPCNotification) and message.method == CANCELLED and message.params:
            canceled = f"{self._session}.{message.params.get('requestId')}"
            return message.model_copy(update={"params": {**message.params, "requestId": canceled}})
        return message

    def answered(self, message: JSONRPCMessage) -> JSONRPCMessage | None:
        """A response or notification of the client, as the server gets it; None for an answer to an earlier session."""
        if not self._session or not isinstance(message, JSONRPCResponse | JSONRPCError):
            return message
        asked = self._ids.pop(message.id, None) if message.id is not None else None
        return None if asked is None else message.model_copy(update={"id": asked})

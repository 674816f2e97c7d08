"""What can go wrong in an A2A request, in the codes of every binding (A2A 5.4 and 9.5, v1.0.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from pydantic import JsonValue, ValidationError

from mcp_a2a.errors import (
    AddressNotAllowedError,
    AmbiguousNameError,
    ConfigurationError,
    ContextMismatchError,
    DeliveryError,
    DiscoveryError,
    FileError,
    KeyChangedError,
    McpA2AError,
    NotAwaitingReplyError,
    PageTokenError,
    PeerNotFoundError,
    PushConfigNotFoundError,
    PushNotSupportedError,
    QueueFullError,
    SelfSendError,
    TaskNotFoundError,
    TooLargeError,
    TransitionError,
    UnsendableError,
    WebError,
)
from mcp_a2a.protocol.text import preview

logger = logging.getLogger(__name__)

DOMAIN = "a2a-protocol.org"


@dataclass(frozen=True)
class Code:
    """One kind of fault."""

    rpc: int
    http: int
    status: str
    """gRPC's name for it, which REST shows too."""
    reason: str


class Kind(Enum):
    """The faults that A2A and JSON-RPC know."""

    PARSE = Code(-32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR")
    INVALID_REQUEST = Code(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
    METHOD_NOT_FOUND = Code(-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND")
    INVALID_PARAMS = Code(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
    INTERNAL = Code(-32603, 500, "INTERNAL", "INTERNAL_ERROR")
    TASK_NOT_FOUND = Code(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
    NOT_CANCELABLE = Code(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
    PUSH_NOT_SUPPORTED = Code(-32003, 400, "FAILED_PRECONDITION", "PUSH_NOTIFICATION_NOT_SUPPORTED")
    UNSUPPORTED_OPERATION = Code(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
    CONTENT_TYPE = Code(-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
    INVALID_RESPONSE = Code(-32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE")
    NO_EXTENDED_CARD = Code(-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
    EXTENSION_REQUIRED = Code(-32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED")
    VERSION = Code(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
    METHOD_NOT_ALLOWED = Code(-32601, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED")
    TOO_LARGE = Code(-32600, 413, "INVALID_ARGUMENT", "REQUEST_TOO_LARGE")
    AGENT_NOT_FOUND = Code(-32601, 404, "NOT_FOUND", "AGENT_NOT_FOUND")
    UNAUTHENTICATED = Code(-32600, 401, "UNAUTHENTICATED", "UNAUTHENTICATED")
    FORBIDDEN = Code(-32600, 403, "PERMISSION_DENIED", "FORBIDDEN")
    MISDIRECTED = Code(-32600, 421, "INVALID_ARGUMENT", "MISDIRECTED_REQUEST")
    OVERLOADED = Code(-32603, 503, "UNAVAILABLE", "OVERLOADED")


class Fault(Exception):  # noqa: N818  an answer of the protocol
    """A request that is answered with an error."""

    def __init__(self, kind: Kind, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.metadata = metadata

    def details(self) -> list[JsonValue]:
        """The machine-readable half: `google.rpc.ErrorInfo`, as A2A requires it."""
        info: dict[str, JsonValue] = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.kind.value.reason,
            "domain": DOMAIN,
            "metadata": dict(self.metadata),
        }
        return [info]

    def rpc_error(self) -> dict[str, JsonValue]:
        """As JSON-RPC has it."""
        return {"code": self.kind.value.rpc, "message": self.message, "data": self.details()}

    def http_error(self) -> dict[str, JsonValue]:
        """As HTTP+JSON has it (AIP-193)."""
        code = self.kind.value
        error: dict[str, JsonValue] = {
            "code": code.http,
            "status": code.status,
            "message": self.message,
            "details": self.details(),
        }
        return {"error": error}


_KINDS: tuple[tuple[tuple[type[McpA2AError], ...], Kind], ...] = (
    ((TaskNotFoundError, PushConfigNotFoundError), Kind.TASK_NOT_FOUND),  # A2A 3.1.8 has no word for the second
    ((TransitionError,), Kind.NOT_CANCELABLE),
    ((NotAwaitingReplyError,), Kind.UNSUPPORTED_OPERATION),
    ((PushNotSupportedError,), Kind.PUSH_NOT_SUPPORTED),
    ((QueueFullError,), Kind.OVERLOADED),
    ((PeerNotFoundError, AmbiguousNameError, KeyChangedError, SelfSendError, DiscoveryError), Kind.AGENT_NOT_FOUND),
    (
        (
            ContextMismatchError, PageTokenError, TooLargeError, UnsendableError, FileError, AddressNotAllowedError,
            ConfigurationError,
        ),
        Kind.INVALID_PARAMS,
    ),
    ((WebError,), Kind.INVALID_RESPONSE),
    ((DeliveryError,), Kind.OVERLOADED),
)  # fmt: skip


_HINTS_FOR_OTHERS = frozenset(
    {Kind.TASK_NOT_FOUND, Kind.NOT_CANCELABLE, Kind.UNSUPPORTED_OPERATION, Kind.AGENT_NOT_FOUND}
)
"""What to do about these is said to assistants and owners: the names of tools and commands are nothing to a client."""


def fault_of(error: McpA2AError) -> Fault:
    """How an error of the node is told to a client."""
    kind = next((kind for kinds, kind in _KINDS if isinstance(error, kinds)), Kind.INTERNAL)
    return Fault(kind, error.message if kind in _HINTS_FOR_OTHERS else str(error))


def told(error: Exception) -> Fault:
    """How whatever went wrong is told to a client; a bug of ours is told to the log, and to nobody else."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, McpA2AError):
        return fault_of(error)
    logger.error("a request of A2A failed", exc_info=error)
    return Fault(Kind.INTERNAL, "Something went wrong in this server; its log says what.")


def invalid_params(error: ValidationError) -> Fault:
    """What is wrong with the parameters: where, and what; not what they were."""
    faults = [
        f"{'.'.join(map(str, fault['loc'])) or 'params'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)[:5]
    ]
    return Fault(Kind.INVALID_PARAMS, preview(f"The parameters are not valid. {'; '.join(faults)}", 1024))

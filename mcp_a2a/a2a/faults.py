"""The faults of an A2A request, in the codes of every binding (A2A 5.4 and 9.5, v1.0.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

from pydantic import JsonValue, ValidationError

from mcp_a2a.errors import McpA2AError
from mcp_a2a.errors.agents import ConsentError, DiscoveryError
from mcp_a2a.errors.delivery import DeliveryError, RefusedError, TooLargeError, UnsendableError
from mcp_a2a.errors.machine import ConfigurationError, StorageFullError
from mcp_a2a.errors.networks import NetworkError
from mcp_a2a.errors.protocol import ProtocolError, RemoteProtocolError
from mcp_a2a.errors.tasks import (
    ContextMismatchError,
    ConversationFullError,
    FileError,
    KeyReusedError,
    PageTokenError,
    PushConfigNotFoundError,
    PushNotSupportedError,
    SelfSendError,
    TaskError,
    TaskNotFoundError,
    TransitionError,
)
from mcp_a2a.errors.web import (
    AddressNotAllowedError,
    CardError,
    ExtensionRequiredError,
    WebAnswerError,
    WebError,
    WebRefusedError,
)
from mcp_a2a.protocol.plain_words import plainly
from mcp_a2a.protocol.text import preview
from mcp_a2a.web_ports import AnswerLostError

logger = logging.getLogger(__name__)

DOMAIN = "a2a-protocol.org"


@dataclass(frozen=True)
class Code:
    """The codes of a kind of fault in each binding."""

    rpc: int
    http: int
    status: str
    """gRPC's name for it, which REST shows too."""
    reason: str
    retry_after: int | None = None
    """Seconds after which the same request may succeed; None where it has to be another one."""


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
    OVERLOADED = Code(-32603, 503, "UNAVAILABLE", "OVERLOADED", retry_after=5)
    UNAVAILABLE = Code(-32603, 503, "UNAVAILABLE", "UNAVAILABLE", retry_after=30)
    STORAGE_FULL = Code(-32603, 507, "RESOURCE_EXHAUSTED", "STORAGE_FULL", retry_after=60)


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
        """The fault as a JSON-RPC error."""
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

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The Retry-After header of the fault, in every binding (RFC 9110, 10.2.3)."""
        return retry_after(self.kind)


def retry_after(kind: Kind) -> list[tuple[bytes, bytes]]:
    """The header with the seconds after which a client may ask again; none for other faults."""
    seconds = kind.value.retry_after
    return [] if seconds is None else [(b"retry-after", str(seconds).encode())]


_ERRORS: dict[Kind, tuple[type[McpA2AError], ...]] = {
    Kind.TASK_NOT_FOUND: (TaskNotFoundError, PushConfigNotFoundError),  # A2A 3.1.8 has no word for the second
    Kind.NOT_CANCELABLE: (TransitionError,),
    Kind.PUSH_NOT_SUPPORTED: (PushNotSupportedError,),
    Kind.INVALID_PARAMS: (
        ContextMismatchError, ConversationFullError, KeyReusedError, PageTokenError, TooLargeError, UnsendableError,
        FileError, AddressNotAllowedError,
    ),
    Kind.AGENT_NOT_FOUND: (SelfSendError, DiscoveryError),
    Kind.UNSUPPORTED_OPERATION: (TaskError,),
    Kind.FORBIDDEN: (RefusedError, ConsentError),
    Kind.OVERLOADED: (DeliveryError,),
    Kind.EXTENSION_REQUIRED: (ExtensionRequiredError,),
    # Another server, behind this one. What lost its answer may have been done: not to be repeated without a look.
    Kind.INVALID_RESPONSE: (CardError, WebRefusedError, WebAnswerError, AnswerLostError, RemoteProtocolError),
    Kind.STORAGE_FULL: (StorageFullError,),
    Kind.UNAVAILABLE: (WebError, ConfigurationError, NetworkError),
    Kind.INTERNAL: (ProtocolError,),
}  # fmt: skip
_KINDS = {error: kind for kind, errors in _ERRORS.items() for error in errors}
"""The kind of fault for each error, or for its family."""

_OURS = {
    Kind.STORAGE_FULL: "The disk of this server is full: nothing was stored and nothing was sent. Try again later.",
    Kind.UNAVAILABLE: "This server cannot do it for now, and nothing is wrong with the request. Try again later; "
    "its owner finds the reason in its log",
}
"""Sentences for clients about faults of this machine; paths and addresses stand in the log, for its owner."""


def fault_of(error: McpA2AError) -> Fault:
    """The fault that a client gets for an error of the node, without a remedy that is for the owner of the node."""
    kind = kind_of(error)
    if kind in _OURS and not isinstance(error, WebError):
        logger.warning("a request of A2A was answered %s: %s", kind.value.reason, error)
        text = _OURS[kind]
        return Fault(kind, text if text.endswith(".") else f"{text} ({error.code}).")
    return Fault(kind, str(error) if error.remedy.is_plain else error.message)


def kind_of(error: McpA2AError) -> Kind:
    """The kind of an error for a client. An unlisted error is the server's: unavailable if retryable, else internal."""
    known = (_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS)
    return next(known, Kind.UNAVAILABLE if error.retryable else Kind.INTERNAL)


def told(error: Exception) -> Fault:
    """The fault that a client gets for an error. The details of a bug of ours go to the log only."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, McpA2AError):
        return fault_of(error)
    logger.error("a request of A2A failed", exc_info=error)
    return Fault(Kind.INTERNAL, "Something went wrong in this server; its log says what.")


def invalid_params(error: ValidationError) -> Fault:
    """The fault for wrong parameters: the place and the kind of each; not their values."""
    found = error.errors(include_url=False)
    # A list whose items are wrong also counts as too short.
    inner = {fault["loc"][:-1] for fault in found if fault["loc"]}
    faults = [
        f"{'.'.join(map(str, fault['loc'])) or 'params'}: {plainly(fault)}"
        for fault in found
        if fault["type"] != "too_short" or fault["loc"] not in inner
    ][:5]
    return Fault(Kind.INVALID_PARAMS, preview(f"The parameters are not valid. {'; '.join(faults)}", 1024))
